"""What was measured, and whether it is good enough. No I/O."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

TIMES = "×"  # noqa: RUF001 - the sign of ratios, as in our tables
Verdict = Literal["met", "within the spread", "missed", "not measured"]


@dataclass
class Figures:
    """Values by figure, model and peer, and in these by round.

    Attributes:
        wanted: The figures and models that were to be measured.
        notes: What a reader of the report has to know.
        details: What belongs to no single figure.
    """

    values: dict[tuple[str, str, str], dict[int, float]] = field(default_factory=dict)
    wanted: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, figure: str, model: str, peer: str, number: int, value: float) -> None:
        """Add a round's value."""
        self.values.setdefault((figure, model, peer), {})[number] = value

    def get(self, figure: str, model: str, peer: str) -> dict[int, float]:
        """The values by round; none when it was not measured."""
        return self.values.get((figure, model, peer), {})

    def note(self, text: str) -> None:
        """Tell the reader, once."""
        if text not in self.notes:
            self.notes.append(text)

    def peers(self) -> list[str]:
        """All peers that have values."""
        return list(dict.fromkeys(peer for _, _, peer in self.values))

    def models(self) -> list[str]:
        """All models."""
        return sorted({model for _, model in self.wanted})


@dataclass(frozen=True)
class Goal:
    """A goal for one of our figures.

    Attributes:
        figure: What is judged.
        title: What it is, for people.
        unit: Of the values.
        least: The least good value, or ratio; None where ``most`` is given.
        most: The largest good value, or ratio.
        rival: The peer to divide by, in the same round; "" judges the value itself.
        rival_figure: The rival's figure where it is another one.
        spread: Whether missing it by no more than the rounds differ is good enough.
        ours: The peer that is judged.
    """

    figure: str
    title: str
    unit: str
    least: float | None = None
    most: float | None = None
    rival: str = ""
    rival_figure: str = ""
    spread: bool = False
    ours: str = "skerry"

    @property
    def text(self) -> str:
        """The goal in words."""
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        if not self.rival:
            return f"{bound} {self.unit}".strip()
        other = "warm" if self.rival == self.ours else self.rival
        return f"{bound} {TIMES} {other}"

    def judge(self, figures: Figures, model: str) -> "Judged":
        """Judge one model's values."""
        measured = figures.get(self.figure, model, self.ours)
        values = list(measured.values())
        if self.rival:
            against = figures.get(self.rival_figure or self.figure, model, self.rival)
            values = [value / against[n] for n, value in measured.items() if against.get(n)]
        return Judged(self, model, values, self._verdict(values))

    def _verdict(self, values: Sequence[float]) -> Verdict:
        if not values:
            return "not measured"
        if self._good(statistics.median(values)):
            return "met"
        if self.spread and self._good(max(values) if self.least is not None else min(values)):
            return "within the spread"
        return "missed"

    def _good(self, value: float) -> bool:
        above = self.least is None or value >= self.least
        return above and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Judged:
    """A goal with what was measured: values, or ratios round by round."""

    goal: Goal
    model: str
    values: list[float]
    verdict: Verdict


GOALS = (
    Goal("one_stream", "1 stream, decode", "tok/s", least=1.0, rival="llama-server", spread=True),
    Goal("eight_streams", "8 streams, aggregate", "tok/s", least=1.05, rival="llama-server"),
    Goal("eight_streams", "8 streams, aggregate", "tok/s", least=3.0, rival="llama_cpp.server"),
    Goal(
        "prefix_cold", "8 at once, 600-token prefix, cold: mean first token", "s",
        most=0.25, rival="llama-server",
    ),
    Goal("prefix_warm", "the same, prefix warm, new questions", "s", most=0.7, rival="llama-server"),
    Goal(
        "prefix_restart", "the same after a restart, prefix saved", "s",
        most=1.2, rival="skerry", rival_figure="prefix_before_restart",
    ),
    Goal("step_overhead", "engine overhead a step, 8 streams", "µs", most=100.0),
    Goal("neighbour", "1 stream beside a busy process", "tok/s", least=2.0, rival="llama-server"),
    Goal("disconnect", "disconnect to slot free, worst of a round", "ms", most=100.0),
    Goal("soak_problems", "soak: hangs, wrong or torn answers", "", most=0.0),
    Goal("soak_memory", "soak: memory against before", "%", most=5.0),
)  # fmt: skip


def shown(values: Sequence[float], unit: str = "") -> str:
    """The median, with least and largest in brackets where there are several."""
    if not values:
        return ""
    digits = 0 if max(map(abs, values)) >= 100 else 2
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) > 1:
        middle += f" [{min(values):.{digits}f}-{max(values):.{digits}f}]"
    return f"{middle} {unit}".strip()
