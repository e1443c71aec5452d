"""Guessing tokens with a second, smaller model of the same vocabulary. Pure: the models come from outside.

The guesses are checked as those of ``speculation``: the answer stays what it would have been. Belongs to the
engine's thread.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from skerry_agent.runtime.engine_ports import EngineBrokenError, Part
from skerry_agent.runtime.speculation import Guesser

CHUNK_TOKENS = 32
READING_SHARE = 0.2
"""A draft has to read the prompt too. It takes no more than this share of the time of the answer so far, so
that an answer for which it never pays has lost no more."""
WEIGHT = 0.2


class DraftModel(Protocol):
    """The part of a loaded model that is used here; ``LlamaContext`` is the real one."""

    context_tokens: int
    sequences: int

    def decode(self, parts: Sequence[Part]) -> list[int]:
        """Compute a step; see ``engine_ports.Model``."""

    def likeliest(self, row: int) -> int:
        """The token that follows the one in a row of the last step most likely."""

    def cut(self, sequence: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; 0 frees it."""


M = TypeVar("M", bound=DraftModel)


class Draft(Generic[M]):
    """The second model, for a few answers at a time.

    Args:
        model: It.
        clock: A time in seconds.

    Attributes:
        seconds: Time that it took so far.
        token_s: What one guess takes, in seconds, as measured lately; 0 before the first.
    """

    def __init__(self, model: M, clock: Callable[[], float] = time.perf_counter) -> None:
        self.model = model
        self.clock = clock
        self.seconds = 0.0
        self.token_s = 0.0
        self.broken = False
        self._free = list(range(model.sequences))

    def open(self, tokens: Sequence[int]) -> "DraftGuesses[M] | None":
        """Guesses for one answer; None when others have all its sequences.

        Args:
            tokens: Prompt and answer so far; the same list that grows later.
        """
        if self.broken or not self._free:
            return None
        return DraftGuesses(self, self._free.pop(), tokens)

    def give_back(self, sequence: int) -> None:
        """Take the sequence of an answer that is over."""
        self.model.cut(sequence, 0)
        self._free.append(sequence)

    def give_up(self, error: Exception) -> None:
        """It failed: answers go on without it."""
        self.broken = True
        sys.stderr.write(f"the draft model is not used any more: {type(error).__name__}\n")

    def guessed(self, count: int, seconds: float) -> None:
        """Count the time of so many guesses."""
        self.seconds += seconds
        each = seconds / count
        self.token_s += (WEIGHT if self.token_s else 1.0) * (each - self.token_s)


class DraftGuesses(Guesser, Generic[M]):
    """Guesses for one answer.

    Args:
        draft: The second model.
        sequence: Its number there.
        tokens: Prompt and answer so far; the same list that grows later.
    """

    def __init__(self, draft: Draft[M], sequence: int, tokens: Sequence[int]) -> None:
        super().__init__()
        self._draft = draft
        self._sequence = sequence
        self._tokens = tokens
        self._cached: list[int] = []
        self._right = 0
        self._began = draft.clock()
        self._reading_s = 0.0

    @property
    def token_s(self) -> float:
        """What one guess takes, in seconds."""
        return self._draft.token_s

    def guess(self, count: int) -> list[int]:
        """So many tokens that may come next; none while it has still to read what came before."""
        draft = self._draft
        if draft.broken or len(self._tokens) + count > draft.model.context_tokens:
            return []
        began = draft.clock()
        try:
            self._forget_wrong()
            if len(self._tokens) - len(self._cached) > CHUNK_TOKENS:
                self._read(began)
                return []
            guesses = self._guess(count)
        except EngineBrokenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about guesses: the answers go on
            draft.give_up(error)
            return []
        draft.guessed(count, draft.clock() - began)
        return guesses

    def close(self) -> None:
        """Free its sequence."""
        self._draft.give_back(self._sequence)

    def _forget_wrong(self) -> None:
        """Cut away what it holds beyond the text as it came to be; the last token is computed again."""
        most = min(len(self._cached), len(self._tokens) - 1)
        while self._right < most and self._cached[self._right] == self._tokens[self._right]:
            self._right += 1
        if len(self._cached) > self._right:
            self._draft.model.cut(self._sequence, self._right)
            del self._cached[self._right :]

    def _read(self, now: float) -> None:
        if self._reading_s > READING_SHARE * (now - self._began):
            return
        start = len(self._cached)
        self._compute(self._tokens[start : start + CHUNK_TOKENS], outputs=0)
        took = self._draft.clock() - now
        self._reading_s += took
        self._draft.seconds += took

    def _guess(self, count: int) -> list[int]:
        row = self._compute(self._tokens[len(self._cached) :], outputs=1)
        guesses = [self._draft.model.likeliest(row)]
        while len(guesses) < count:
            row = self._compute(guesses[-1:], outputs=1)
            guesses.append(self._draft.model.likeliest(row))
        return guesses

    def _compute(self, tokens: Sequence[int], *, outputs: int) -> int:
        (row,) = self._draft.model.decode([Part(self._sequence, len(self._cached), tokens, outputs)])
        self._cached += tokens
        return row
