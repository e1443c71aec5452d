"""``make bench-runtime``: the runtime beside its peers, in the same run, turn by turn.

Prints a table and writes ``bench-runtime.json``. Exit code 0, also when a goal was missed, unless
``--enforce`` is given.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from bench.runtime import disconnects, prefixes, report, skerry, soak, speed
from bench.runtime.figures import Figures
from bench.runtime.http_stream import PeerError
from bench.runtime.peers import ModelCase, Peer
from bench.runtime.rivals import RIVALS, PeerMissingError, script
from bench.runtime.scale import FULL, QUICK, Scale, Turn
from support.processes import ProcessError

CALM_S = 0.5
"""Pause between two turns."""
IDLE_SHARE = 0.02
"""A peer whose turn it is not may use so much of one core."""
MODELS = {"smollm2": (True, (0, 2)), "gemma3": (False, (1, 106))}
"""By name in ``scripts/fetch_models.py``: whether it is asked as a chat, and what ends its answers."""
SHOWN_CHARACTERS = 400
MAKERS: dict[str, Callable[[ModelCase, Path], Peer]] = {skerry.NAME: skerry.skerry, **RIVALS}


@dataclass(frozen=True)
class Scenario:
    """What is measured in turns.

    Attributes:
        run: One turn.
        judged: The figures in it that have goals.
        rivals: The peers that take part besides ours.
        once: Whether one round is enough.
        keeps_runner: Whether our runner has to live through a turn: a reload would be measured as well.
    """

    run: Callable[[Turn], None]
    judged: tuple[str, ...]
    rivals: tuple[str, ...] = ()
    once: bool = False
    keeps_runner: bool = True


SCENARIOS = {
    "one-stream": Scenario(speed.one_stream, ("one_stream",), tuple(RIVALS)),
    "eight-streams": Scenario(speed.eight_streams, ("eight_streams", "step_overhead"), tuple(RIVALS)),
    "prefix": Scenario(prefixes.shared_prefix, ("prefix_cold", "prefix_warm"), tuple(RIVALS)),
    "restart": Scenario(prefixes.after_restart, ("prefix_restart",), keeps_runner=False),
    "neighbour": Scenario(speed.neighbour, ("neighbour",), ("llama-server",)),
    "disconnect": Scenario(disconnects.disconnect, ("disconnect",)),
    "soak": Scenario(soak.soak, ("soak_problems", "soak_memory"), once=True, keeps_runner=False),
}


class Bench:
    """One run: the peers that are up, and where values go.

    Args:
        scale: How large it is.
        folder: For state folders and logs.
        console: Where progress is shown.
    """

    def __init__(self, scale: Scale, folder: Path, console: Console) -> None:
        self.figures = Figures()
        self.flags: dict[str, list[str]] = {}
        self._scale = scale
        self._folder = folder
        self._console = console

    def measure(self, case: ModelCase, scenarios: dict[str, Scenario]) -> None:
        """Run scenarios with one model. All peers are started before and stopped after."""
        wanted = [name for name in RIVALS if any(name in scenario.rivals for scenario in scenarios.values())]
        with contextlib.ExitStack() as running:
            peers = self._start(case, wanted, running)
            self.flags.update(report.flags_of(peers))
            for name, scenario in scenarios.items():
                self.figures.wanted.update((figure, case.name) for figure in scenario.judged)
                self._run(name, scenario, peers)

    def _start(self, case: ModelCase, rivals: list[str], running: contextlib.ExitStack) -> list[Peer]:
        peers: list[Peer] = []
        for name in (skerry.NAME, *rivals):
            self._console.print(f"{case.name}: starting {name}", highlight=False)
            try:
                peer = (
                    skerry.skerry(case, self._folder)
                    if name == skerry.NAME
                    else RIVALS[name](case, self._folder)
                )
                running.callback(peer.stop)
                self._revive(peer)
                peers.append(peer)
            except (PeerMissingError, ProcessError, PeerError, TimeoutError) as error:
                self.figures.note(f"{name}, {case.name}: not measured: {_short(error)}")
        return peers

    def _run(self, name: str, scenario: Scenario, peers: list[Peer]) -> None:
        taking_part = [peer for peer in peers if peer.name in (skerry.NAME, *scenario.rivals)]
        rounds = 1 if scenario.once else self._scale.rounds
        for number in range(rounds):
            for peer in taking_part:
                began = time.monotonic()
                self._turn(scenario, Turn(peer, number, self._scale, self.figures, self._folder), peers)
                took = time.monotonic() - began
                self._console.print(
                    f"{peer.case.name}: {name}, round {number + 1} of {rounds}, {peer.name}: {took:.1f} s",
                    highlight=False,
                )

    def _turn(self, scenario: Scenario, turn: Turn, peers: list[Peer]) -> None:
        time.sleep(CALM_S)
        idle = [peer for peer in peers if peer is not turn.peer]
        before, began = [peer.cpu_s() for peer in idle], time.monotonic()
        try:
            if not turn.peer.service.running:
                self._revive(turn.peer)
            runner = _runner_pid(turn.peer)
            scenario.run(turn)
            if scenario.keeps_runner and _runner_pid(turn.peer) != runner:
                turn.note("its runner was replaced during a turn: loading is in the figures, do not use them")
        except (PeerError, ProcessError, TimeoutError) as error:
            turn.note(f"a turn failed: {_short(error)}")
        took = time.monotonic() - began
        for peer, cpu_s in zip(idle, before, strict=True):
            share = (peer.cpu_s() - cpu_s) / took
            if share > IDLE_SHARE:
                self.figures.note(f"{peer.name} used up to {share:.0%} of a core while it was not its turn")

    def _revive(self, peer: Peer) -> None:
        peer.start()
        asyncio.run(peer.warm_up())


def _runner_pid(peer: Peer) -> int | None:
    """The process that holds our model; None for others, and while there is none."""
    runner = peer.runner() if isinstance(peer, skerry.Skerry) else None
    return runner.pid if runner else None


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < SHOWN_CHARACTERS else f"{text[:100]} … {text[-300:]}"


def _end_at(_signal: int, _frame: object) -> None:
    """End as Ctrl-C does: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a smoke: one round, one model, small")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="this scenario; may be repeated")
    parser.add_argument("--model", action="append", choices=MODELS, help="this model; may be repeated")
    parser.add_argument("--rounds", type=int, help="turns of each peer in each scenario")
    parser.add_argument("--enforce", action="store_true", help="exit code 1 when a goal was not met")
    parser.add_argument("--output", type=Path, default=Path("bench-runtime.json"))
    parser.add_argument("--logs", type=Path, help="keep the peers' logs in this folder")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    options = _options()
    signal.signal(signal.SIGTERM, _end_at)
    console = Console(width=None if sys.stdout.isatty() else 180)
    facts = report.machine()
    scale = QUICK if options.quick else FULL
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    scenarios = {name: SCENARIOS[name] for name in SCENARIOS if not options.only or name in options.only}
    names = options.model or (["smollm2"] if options.quick else list(MODELS))
    with contextlib.ExitStack() as stack:
        folder = options.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(scale, folder.resolve(), console)
        if warning := report.load_warning(facts["load"][0]):
            console.print(f"[yellow]warning: {warning}[/yellow]")
            bench.figures.note(warning)
        if scale.prefix_words < FULL.prefix_words:
            bench.figures.note(f"the shared prefix had {scale.prefix_words} words only, not 600 tokens")
        fetcher = script("fetch_models")
        try:
            for name in names:
                chat, ends = MODELS[name]
                bench.measure(ModelCase(name, fetcher.fetch(fetcher.MODELS[name]), chat, ends), scenarios)
        except KeyboardInterrupt:
            bench.figures.note("interrupted: what was measured until then")
        report.show(console, bench.figures, noisy=facts["noisy"])
        report.write(options.output, facts, scale, bench.figures, bench.flags)
    missed = [
        judged for judged in report.judge(bench.figures) if judged.verdict in ("missed", "not measured")
    ]
    return 1 if options.enforce and missed else 0


if __name__ == "__main__":
    sys.exit(main())
