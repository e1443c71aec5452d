"""One model through the line, by the commands that a person runs."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
STEP_TIMEOUT_S = 900
PASSPHRASE = "only for this bench"  # noqa: S105 - of a keyring that is thrown away


class Failed(Exception):  # noqa: N818 - what the bench says when it cannot go on
    """A step without which there is nothing to go on with."""


@dataclass(frozen=True)
class Story:
    """A model: its name in the library, in words, for ``fetch_models.py``, and what is made of it."""

    name: str
    title: str
    source: str
    quantizations: tuple[str, ...]


@dataclass
class Result:
    """What came out of one model's line."""

    story: Story
    comparison: dict[str, Any]
    charts: Path
    advice: list[dict[str, Any]]
    published: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


class Line:
    """A library, a controller that is thrown away, and the steps.

    Args:
        folder: Where both are.
        quick: Few points and one quantization.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.failures: list[str] = []
        self._folder = self._library = folder
        self._quick = quick
        self._data, self._keys = folder / "controller", folder / "keys"
        self._skerry("init", "--data", self._data, "--keys", self._keys, "--host", "127.0.0.1", needed=True)

    def run(self, story: Story) -> Result:
        """All steps of one model.

        Raises:
            Failed: One without which the others make no sense.
        """
        seconds: dict[str, float] = {}
        self._library = self._folder / f"library-{story.name}"
        parent = f"{story.name}@1"
        self._model("import", _model_file(story), "--as", parent, seconds=seconds, needed=True)
        kinds = story.quantizations[:1] if self._quick else story.quantizations
        refs = [parent]
        for kind in kinds:
            ref = f"{story.name}-{kind.lower()}@1"
            if self._model("quantize", parent, kind, "--as", ref, "--force", seconds=seconds) is not None:
                refs.append(ref)
        for ref in refs:
            self._model("bench", ref, *self._points(), seconds=seconds)
            self._model("eval", ref, seconds=seconds)
        charts = self._folder / f"charts-{story.name}"
        comparison = self._model("compare", *refs, "--charts", charts, seconds=seconds, needed=True)
        wishes = ("--ram", "2GiB", "--disk", "4GiB", "--min-tok-s", "8", "--task", "complete")
        advice = self._model("advise", *wishes, seconds=seconds, needed=True)
        best = next((c["ref"] for c in advice[0]["advice"]["candidates"] if c.get("rank") == 1), parent)
        at = ("--as", f"{story.name}-best@1", "--controller", self._data, "--keys", self._keys)
        published = self._model("publish", best, *at, seconds=seconds)
        return Result(story, comparison, charts, advice, published or {}, seconds)

    def _points(self) -> tuple[str, ...]:
        """Bounded, so that ten models take some minutes."""
        if self._quick:
            depth, context, repetitions, prompt = "0", "512", "2", "64"
        else:
            depth, context, repetitions, prompt = "0,512", "512,2048", "3", "256"
        cores = str(len(os.sched_getaffinity(0)))
        points = ("--threads", cores, "--depth", depth, "--batch", "256", "--context", context)
        return (*points, "--repetitions", repetitions, "--prompt", prompt)

    def _model(
        self, command: str, *words: str | Path, seconds: dict[str, float], needed: bool = False
    ) -> Any:
        """The JSON of one command of the workshop; None when it failed."""
        began = time.monotonic()
        at = ("--data", self._library, "--json")
        said = self._skerry("model", command, *words, *at, needed=needed)
        seconds[command] = seconds.get(command, 0.0) + time.monotonic() - began
        return None if said is None else json.loads(said)

    def _skerry(self, *words: str | Path, needed: bool) -> str | None:
        shown = " ".join(str(word) for word in words)
        print(f"skerry {shown}", flush=True)  # noqa: T201 - so that a person sees where it is
        environment = os.environ | {"SKERRY_KEYRING_PASSPHRASE": PASSPHRASE}
        try:
            done = subprocess.run(
                [BIN / "skerry", *words],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=STEP_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            self._failed(f"skerry {shown}: not done after {STEP_TIMEOUT_S} s", needed=needed)
            return None
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["(it said nothing)"]
            self._failed(f"skerry {shown}: {last[0]}", needed=needed)
            return None
        return done.stdout

    def _failed(self, text: str, *, needed: bool) -> None:
        if needed:
            raise Failed(text)
        self.failures.append(text)


def _model_file(story: Story) -> Path:
    """Where ``fetch_models.py`` keeps it."""
    script = Path(__file__).resolve().parents[3] / "scripts" / "fetch_models.py"
    done = subprocess.run(
        [sys.executable, script, "--quiet", story.source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"{story.title} cannot be fetched: {done.stderr.strip()}")
    return Path(done.stdout.strip().splitlines()[-1])
