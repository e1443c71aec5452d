"""What a bench measures: the points, and how often each. Pure."""

from collections.abc import Sequence
from typing import Final, Self

import msgspec

from skerry_controller.errors import UsageError

MAX_REPETITIONS: Final = 100
MAX_THREADS: Final = 512
MAX_BATCH_TOKENS: Final = 4096
MAX_DEPTH_TOKENS: Final = 1_048_576
DEFAULT_DEPTHS: Final = (0, 512, 2048)
DEFAULT_BATCHES: Final = (128, 512)
_THREAD_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class BenchPlan(msgspec.Struct, frozen=True):
    """The points of a bench.

    Attributes:
        threads: Thread counts.
        batches: Tokens of one step while a prompt is read.
        depths: Tokens that stand in the context before what is measured.
        contexts: Contexts of which the memory is measured, in tokens.
        repetitions: How often each point is measured, after once without counting.
        prompt_tokens: Length of the prompts.
        answer_tokens: Length of the answers.
    """

    threads: tuple[int, ...]
    batches: tuple[int, ...] = DEFAULT_BATCHES
    depths: tuple[int, ...] = DEFAULT_DEPTHS
    contexts: tuple[int, ...] = (512, 2048)
    repetitions: int = 5
    prompt_tokens: int = 512
    answer_tokens: int = 64

    def fitted(self, trained_tokens: int) -> Self:
        """Without the points that a model of this context cannot have.

        Raises:
            UsageError: None is left, or a number makes no sense.
        """
        self._check()
        longest = trained_tokens or MAX_DEPTH_TOKENS
        prompt, answer = min(self.prompt_tokens, longest), min(self.answer_tokens, longest)
        depths = tuple(d for d in self.depths if d + max(prompt, answer) <= longest)
        contexts = tuple(c for c in self.contexts if c <= longest) or (longest,)
        if not depths:
            raise UsageError(
                f"no depth of {self.depths} leaves room for {max(prompt, answer)} tokens in the model's "
                f"context of {longest}: give a smaller --depth"
            )
        batches = tuple(dict.fromkeys(min(b, longest) for b in self.batches))
        return msgspec.structs.replace(
            self,
            batches=batches,
            depths=depths,
            contexts=contexts,
            prompt_tokens=prompt,
            answer_tokens=answer,
        )

    def _check(self) -> None:
        _check_range("threads", self.threads, 1, MAX_THREADS)
        _check_range("batch", self.batches, 1, MAX_BATCH_TOKENS)
        _check_range("depth", self.depths, 0, MAX_DEPTH_TOKENS)
        _check_range("context", self.contexts, 1, MAX_DEPTH_TOKENS)
        _check_range("repetitions", (self.repetitions,), 1, MAX_REPETITIONS)
        _check_range("prompt", (self.prompt_tokens,), 1, MAX_DEPTH_TOKENS)
        _check_range("answer", (self.answer_tokens,), 1, MAX_DEPTH_TOKENS)


def usual_plan(cores: int) -> BenchPlan:
    """Thread counts up to the cores that there are."""
    return BenchPlan(threads=tuple(sorted({*(n for n in _THREAD_COUNTS if n <= cores), max(1, cores)})))


def parse_numbers(text: str, name: str) -> tuple[int, ...]:
    """``1,2,4`` in rising order, each once.

    Raises:
        UsageError: That is no such list.
    """
    try:
        return tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise UsageError(f"--{name} is whole numbers with commas, such as 1,2,4, not {text!r}") from None


def _check_range(name: str, values: Sequence[int], least: int, most: int) -> None:
    wrong = [value for value in values if not least <= value <= most]
    if wrong or not values:
        raise UsageError(f"--{name} is from {least} to {most}, not {wrong[0] if wrong else 'empty'}")
