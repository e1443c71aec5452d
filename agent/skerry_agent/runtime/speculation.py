"""Guessing tokens, from the text so far (prompt lookup) or otherwise, and knowing when that pays. Pure.

Where an answer repeats what stands in the prompt or in itself (code, tables, quotations), the tokens after
the last occurrence of its last few are a good guess. A step computes the guesses too, and keeps as many as
the sampler chooses by itself: the answer stays what it would have been. Guesses cost time, so they are made
only when the measured times of steps, and the measured share of right guesses, say that it goes faster so.
Source of the idea: Saxena, "Prompt Lookup Decoding", 2023.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

NGRAM = 3
SIZES = (1, 2, 4, 7)
MAX_JOBS = 2
"""With more answers at once a step is full already."""
WEIGHT = 0.2
FORGET = 0.002
"""A text may become repetitive later: with each token that is not guessed, hope comes back a little."""
MARGIN = 1.05
START_RATE = 0.6
PROBES = 2


class StepTimes:
    """What a step costs, by how many tokens it computes.

    Only steps without prompts count. A size is unknown until it was measured ``PROBES`` times.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._seen: dict[int, int] = {}

    def observe(self, tokens: int, seconds: float) -> None:
        """Take the time of a step."""
        seen = self._seen[tokens] = self._seen.get(tokens, 0) + 1
        before = self._seconds.get(tokens, seconds)
        # The first step of a size often pays for something once; then the best of the probes counts.
        weight = WEIGHT if seen > PROBES else 1.0
        self._seconds[tokens] = before + weight * (min(seconds, before * 4) - before)

    def seconds(self, tokens: int) -> float | None:
        """The time of such a step; None while it is unknown."""
        return self._seconds.get(tokens) if self._seen.get(tokens, 0) >= PROBES else None


class Guesser(ABC):
    """One way to guess at one answer.

    Attributes:
        rate: How likely a guess is right, as learned.
    """

    def __init__(self) -> None:
        self.rate = START_RATE

    @property
    def token_s(self) -> float:
        """What a guess costs besides the step that checks it, in seconds."""
        return 0.0

    @abstractmethod
    def guess(self, count: int) -> list[int]:
        """At most so many tokens that may come next."""

    def learn(self, drafted: int, accepted: int) -> None:
        """Take how many of the guesses were right."""
        if not drafted:
            self.rate = min(START_RATE, self.rate + FORGET)
            return
        # Guesses after the first wrong one were not looked at.
        judged = min(drafted, accepted + 1)
        self.rate += WEIGHT * (accepted / judged - self.rate)

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Free what it holds; the answer is over."""


class Lookup(Guesser):
    """Guesses from the text so far.

    Args:
        tokens: Prompt and answer so far; the same list that grows later.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__()
        self._tokens = tokens
        self._next: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def guess(self, count: int) -> list[int]:
        """At most so many tokens that may come next; none when the last few are new."""
        tokens = self._tokens
        end = len(tokens)
        # All n-grams but the last one, whose continuation is what is asked.
        for start in range(max(0, self._indexed - NGRAM + 1), end - NGRAM):
            self._next[tuple(tokens[start : start + NGRAM])] = start + NGRAM
        self._indexed = max(0, end - 1)
        found = self._next.get(tuple(tokens[end - NGRAM :])) if end > NGRAM else None
        if found is None:
            return []
        period = end - found  # a guess that reaches the end goes on as a repetition
        return [tokens[found + i % period] for i in range(count)]


class Guesses:
    """The guesses at one answer, whichever way they come.

    Args:
        guessers: The ways, the cheapest first.
    """

    def __init__(self, guessers: Sequence[Guesser]) -> None:
        self.guessers = tuple(guessers)
        self.last: Guesser | None = None

    def learn(self, drafted: int, accepted: int) -> None:
        """Take how many of the last step's guesses were right."""
        for guesser in self.guessers:
            chosen = guesser is self.last
            guesser.learn(drafted if chosen else 0, accepted if chosen else 0)

    def close(self) -> None:
        """Free what they hold; the answer is over."""
        for guesser in self.guessers:
            guesser.close()


class Speculation:
    """Decides how many tokens to guess, and by whom.

    Args:
        max_tokens: The most tokens that one step may compute for answers.
        second: Makes another way to guess at an answer, from its tokens, if there is one.
    """

    def __init__(
        self, max_tokens: int, second: Callable[[Sequence[int]], Guesser | None] | None = None
    ) -> None:
        self._max = max_tokens
        self._second = second
        self.times = StepTimes()

    def begin(self, tokens: Sequence[int]) -> Guesses:
        """The guesses at an answer, from its tokens so far: the same list that grows later."""
        second = self._second(tokens) if self._second is not None else None
        return Guesses([Lookup(tokens)] if second is None else [Lookup(tokens), second])

    def guess(self, guesses: Guesses, decoding: int, most: int) -> list[int]:
        """Tokens that may come next, at most so many, when so many answers are in the step."""
        for guesser in guesses.guessers:
            size = min(self.size(guesser, decoding), most)
            if size > 0 and (found := guesser.guess(size)):
                guesses.last = guesser
                return found
        guesses.last = None
        return []

    def size(self, guesser: Guesser, decoding: int) -> int:
        """How many tokens to guess for an answer, when so many answers are in the step."""
        if decoding > MAX_JOBS or (base := self.times.seconds(decoding)) is None:
            return 0
        best, best_rate = 0, MARGIN / base
        for size in SIZES:
            total = decoding + size
            if total > self._max:
                break
            expected = 1.0 + sum(guesser.rate**i for i in range(1, size + 1))
            seconds = self.times.seconds(total)
            if seconds is None:
                # Unknown: try it where it would pay if it cost half of what computing one by one does.
                return size if guesser.rate > START_RATE / 2 else 0
            seconds += size * guesser.token_s
            if expected / seconds > best_rate:
                best, best_rate = size, expected / seconds
        return best
