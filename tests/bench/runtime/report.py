"""What the reader gets: a table on the terminal, and ``bench-runtime.json``."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.runtime.figures import GOALS, TIMES, Figures, Judged, shown
from bench.runtime.peers import Peer
from bench.runtime.rivals import ROOT, script
from bench.runtime.scale import Scale

CALM_LOAD = 0.5
OTHER_TITLES = {
    "load_first_token": "first token of a short request after a restart, loading the model, s",
    "prefix_before_restart": "8 at once, prefix warm, before the restart: mean first token, s",
    "prefix_read_anew": "8 at once, new questions, prefix read anew: mean first token, s",
    "disconnect: answering, alone": "disconnect while answering, alone, ms",
    "disconnect: answering, beside others": "disconnect while answering, beside 7 others, ms",
    "disconnect: reading": "disconnect while a prompt is read, ms",
}
STYLES = {"met": "green", "within the spread": "green", "missed": "red", "not measured": "dim"}


def machine() -> dict[str, Any]:
    """The machine as it is now; taken before the first process is started."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    memory_kib = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": list(os.getloadavg()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": fields.get("model name") or fields.get("Model") or platform.processor(),
        "flags": fields.get("flags") or fields.get("Features") or "",
        "memory_mib": memory_kib // 1024,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "noisy": os.getloadavg()[0] > CALM_LOAD,
        "versions": {name: version(name) for name in ("skerry", "llama-cpp-python", "starlette", "uvicorn")},
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "llama_server": _llama_server(),
    }


def load_warning(load: float) -> str | None:
    """What to say when others are at work on this machine."""
    if load <= CALM_LOAD:
        return None
    return f"the load was {load:.2f} at the start, over {CALM_LOAD:g}: others were at work, so this is noise"


def show(console: Console, figures: Figures, *, noisy: bool) -> None:
    """Print the figures of all peers, and then the goals with their verdicts."""
    peers = figures.peers()
    table = Table("figure", "model", *peers, box=None, title="median [least-largest]", title_justify="left")
    titles = OTHER_TITLES | {goal.figure: f"{goal.title}, {goal.unit}".rstrip(", ") for goal in GOALS}
    for figure, model in dict.fromkeys((figure, model) for figure, model, _ in figures.values):
        cells = [shown(list(figures.get(figure, model, peer).values())) for peer in peers]
        table.add_row(titles.get(figure, figure), model, *cells)
    console.print(table)
    verdict = "verdict, of noise" if noisy else "verdict"
    goals = Table("goal for", "model", "measured", "goal", verdict, box=None)
    for judged in judge(figures):
        unit = TIMES if judged.goal.rival else judged.goal.unit
        style = STYLES[judged.verdict]
        goals.add_row(
            judged.goal.title, judged.model, shown(judged.values, unit), judged.goal.text,
            f"[{style}]{judged.verdict}[/{style}]",
        )  # fmt: skip
    console.print()
    console.print(goals)
    for note in figures.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def judge(figures: Figures) -> list[Judged]:
    """Every goal of what was to be measured, for every model."""
    pairs = [(goal, model) for goal in GOALS for model in figures.models()]
    return [goal.judge(figures, model) for goal, model in pairs if (goal.figure, model) in figures.wanted]


def write(
    path: Path, facts: dict[str, Any], scale: Scale, figures: Figures, flags: dict[str, list[str]]
) -> None:
    """Write all of it as JSON."""
    report = {
        **facts,
        "scale": {name: getattr(scale, name) for name in scale.__dataclass_fields__},
        "peers": flags,
        "goals": [
            {
                "figure": judged.goal.figure, "title": judged.goal.title, "model": judged.model,
                "goal": judged.goal.text, "values": judged.values, "verdict": judged.verdict,
            }
            for judged in judge(figures)
        ],
        "figures": [
            {"figure": figure, "model": model, "peer": peer, "rounds": values}
            for (figure, model, peer), values in figures.values.items()
        ],
        "notes": figures.notes,
        "details": figures.details,
    }  # fmt: skip
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def flags_of(peers: list[Peer]) -> dict[str, list[str]]:
    """How each peer was started, and what its requests carry so that answers do not end early."""
    return {
        f"{peer.name}, {peer.case.name}": [*peer.flags, f"requests: {json.dumps(peer.endless)}"]
        for peer in peers
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _llama_server() -> Any:
    builder = script("build_llama_server")
    facts = builder.home(builder.pinned_version()) / "build.json"
    return json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else None
