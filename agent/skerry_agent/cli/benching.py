"""Measures a model through the local API, in llama-bench's two kinds of tests: reading and writing."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skerry_agent.errors import UsageError


class Api(Protocol):
    """What the measuring needs of the local API."""

    def get(self, path: str) -> dict[str, Any]:
        """A JSON document."""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One test; rates in tokens a second.

    Attributes:
        test: ``pp512`` reads 512 tokens, ``tg128`` writes 128.
        tokens: How many it was really.
    """

    test: str
    tokens: int
    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle rate."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """Half of the distance between the slowest and the fastest."""
        return (max(self.rates) - min(self.rates)) / 2


def measure(
    api: Api,
    model: str,
    *,
    prompts: Sequence[int],
    answers: Sequence[int],
    rounds: int,
    told: Callable[[str], None] = lambda _: None,
) -> list[Measured]:
    """Run all tests; each first once without counting, since the model may have to be loaded.

    Args:
        api: The local API.
        model: Its name.
        prompts: Sizes of prompts to read, in tokens.
        answers: Sizes of answers to write, in tokens.
        rounds: How often each test is measured.
        told: Hears what is being done.

    Raises:
        UsageError: The model has no vocabulary that can be asked for, or refuses a size.
    """
    meta = api.get(f"/v1/models/{model}")["meta"]
    vocabulary = meta.get("vocabulary_size")
    if not isinstance(vocabulary, int) or not vocabulary:
        raise UsageError(f"{model} does not say how large its vocabulary is: it cannot be measured")
    tests = [("pp", size) for size in prompts] + [("tg", size) for size in answers]
    results = []
    for kind, size in tests:
        rates: list[float] = []
        tokens = 0
        for number in range(rounds + 1):
            told(f"{kind}{size}: round {number} of {rounds}" if number else f"{kind}{size}: warming up")
            tokens, rate = _read(api, model, size, vocabulary) if kind == "pp" else _write(api, model, size)
            if number:
                rates.append(rate)
        results.append(Measured(f"{kind}{size}", tokens, tuple(rates)))
    return results


def _read(api: Api, model: str, size: int, vocabulary: int) -> tuple[int, float]:
    """Let it read a prompt that nobody read before."""
    # Ordinary tokens: special ones stand at the ends of most vocabularies.
    low, high = vocabulary // 4, max(vocabulary // 2, vocabulary // 4 + 1)
    prompt = [random.randrange(low, high) for _ in range(size)]  # noqa: S311 - no secret
    body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "cache_prompt": False}
    answer = api.post("/v1/completions", body)
    seconds = answer["timings"]["prompt_ms"] / 1e3
    tokens = int(answer["usage"]["prompt_tokens"])
    return tokens, tokens / seconds if seconds > 0 else 0.0


def _write(api: Api, model: str, size: int) -> tuple[int, float]:
    """Let it write on, past the end of its answer."""
    body = {"model": model, "prompt": "1 2 3", "max_tokens": size, "temperature": 0, "ignore_eos": True}
    answer = api.post("/v1/completions", body)
    return int(answer["usage"]["completion_tokens"]), float(answer["timings"]["decode_tokens_per_s"])
