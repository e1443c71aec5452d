"""How probable a text is to the model, in small steps between those of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skerry_agent.runtime.requests import AdapterFile
from skerry_agent.runtime.text_queue import TextQueue
from skerry_agent.runtime.wire import FromRunner, Scored


class ScoreModel(Protocol):
    """A context that gives the probabilities of one text's tokens; ``LlamaScoreContext`` is the real one.

    Attributes:
        window_tokens: The text is read in windows of so many tokens, each for itself.
        step_tokens: The most tokens of one ``nats``.
    """

    window_tokens: int
    step_tokens: int

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        """Forget the window before, and compute the next one with these adapters."""

    def nats(self, tokens: Sequence[int], position: int, following: Sequence[int]) -> float:
        """Read tokens; returns the sum of -ln p of those that follow each, as far as there are any."""

    def close(self) -> None:
        """Free the context."""


@dataclass(slots=True, eq=False)
class ScoreJob:
    """A text to score.

    Attributes:
        running: The engine's thread has it: only that may end it now.
        read: How many tokens are read.
        scored: How many tokens were scored; ``nats`` is the sum of their -ln p.
    """

    number: int
    text: str
    adapters: tuple[AdapterFile, ...] = ()
    cancelled: bool = False
    running: bool = False
    tokens: list[int] = field(default_factory=list)
    read: int = 0
    scored: int = 0
    nats: float = 0.0


class Scorer(TextQueue[ScoreJob, ScoreModel]):
    """Scores one text after another."""

    def _read(self, job: ScoreJob, model: ScoreModel) -> FromRunner | None:
        position = job.read % model.window_tokens
        if position == 0:
            model.begin(job.adapters)
        count = min(model.step_tokens, model.window_tokens - position, len(job.tokens) - job.read)
        end = min(job.read - position + model.window_tokens, len(job.tokens))
        following = job.tokens[job.read + 1 : min(job.read + count + 1, end)]
        job.nats += model.nats(job.tokens[job.read : job.read + count], position, following)
        job.scored += len(following)
        job.read += count
        if job.read < len(job.tokens):
            return None
        return Scored(job.number, job.scored, job.nats)
