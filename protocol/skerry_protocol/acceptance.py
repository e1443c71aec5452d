"""What a version must show on a device before it stays there: part of the signed manifest."""

import math
from collections.abc import Iterator
from typing import Any, Final

from skerry_protocol.codec import Part
from skerry_protocol.json_schema import schema_problem

MAX_ACCEPTANCE_TOKENS: Final = 1024
MAX_CHECKS: Final = 100
MAX_SOAK_S: Final = 30 * 24 * 3600.0


class AcceptanceCheck(Part, frozen=True, omit_defaults=True):
    """A prompt that the candidate must answer on the device, and what must hold of the answer.

    Attributes:
        prompt: The user message (or the text to complete, for a model without a chat template).
        max_tokens: Generation stops there.
        min_tokens: Fewer generated tokens fail the check.
        contains: Texts that must all occur in the answer.
        regex: A pattern that must be found in the answer (``re.search``).
        json_schema: The answer must be JSON that fits this schema (``skerry_protocol.json_schema``).
    """

    prompt: str
    max_tokens: int = 16
    min_tokens: int = 1
    contains: tuple[str, ...] = ()
    regex: str | None = None
    json_schema: dict[str, Any] | None = None


class PerplexityLimit(Part, frozen=True, omit_defaults=True):
    """Bounds on the perplexity of the agent's own text, measured on the device; lower is better.

    Attributes:
        max_increase_percent: Above that of the version that serves; nothing is compared where none does.
        max_perplexity: Wherever it runs.
    """

    max_increase_percent: float | None = None
    max_perplexity: float | None = None


class SoakTerms(Part, frozen=True, omit_defaults=True):
    """How the version is watched while it takes requests on trial; what is left out is the device's setting.

    Attributes:
        duration_s: For how long, in seconds; 0 commits as soon as the checks have passed.
        max_slowdown: Factor by which it may be slower than the version before.
        max_more_errors_percent: Percentage points by which more of its requests may fail.
    """

    duration_s: float | None = None
    max_slowdown: float | None = None
    max_more_errors_percent: float | None = None


class Acceptance(Part, frozen=True, omit_defaults=True):
    """What is asked of a version on every device; figures are those of its trial there.

    Attributes:
        checks: Prompts and what must hold of their answers.
        deadline_s: Time for the whole trial, loading apart, in seconds.
        min_tokens_per_s: Floor for the best decoding rate of the checks, for one request alone.
        max_first_token_ms: Ceiling for the best time to the first token of the checks.
        max_memory_bytes: Ceiling for the resident memory of the runner after the checks.
        perplexity: Bounds on the perplexity of a text.
        soak: The time on trial with real requests.
        cpu_features: Flags of ``/proc/cpuinfo`` that the processor must have, as ``avx2`` or ``asimddp``.
    """

    checks: tuple[AcceptanceCheck, ...] = (AcceptanceCheck(prompt="Say hello."),)
    deadline_s: float = 300.0
    min_tokens_per_s: float | None = None
    max_first_token_ms: float | None = None
    max_memory_bytes: int | None = None
    perplexity: PerplexityLimit | None = None
    soak: SoakTerms | None = None
    cpu_features: tuple[str, ...] = ()

    @property
    def format_version(self) -> int:
        """The least version of the manifest that may hold this: agents that know only 1 must not skip it."""
        later = (
            self.min_tokens_per_s,
            self.max_first_token_ms,
            self.max_memory_bytes,
            self.perplexity,
            self.soak,
            *(check.json_schema for check in self.checks),
        )
        return 2 if self.cpu_features or any(value is not None for value in later) else 1


def acceptance_problem(acceptance: Acceptance) -> str | None:
    """The first thing that cannot be meant; ``None`` when all is in bounds."""
    return next(_problems(acceptance), None)


def _problems(acceptance: Acceptance) -> Iterator[str]:
    if len(acceptance.checks) > MAX_CHECKS:
        yield f"there are {len(acceptance.checks)} checks; {MAX_CHECKS} are the most"
    for number, check in enumerate(acceptance.checks, start=1):
        if not 1 <= check.min_tokens <= check.max_tokens <= MAX_ACCEPTANCE_TOKENS:
            yield f"check {number} needs 1 <= min_tokens <= max_tokens <= {MAX_ACCEPTANCE_TOKENS}"
        wrong = None if check.json_schema is None else schema_problem(check.json_schema)
        if wrong is not None:
            yield f"check {number}: json_schema: {wrong}"
    limit, soak = acceptance.perplexity or PerplexityLimit(max_perplexity=1.0), acceptance.soak
    if limit.max_increase_percent is None and limit.max_perplexity is None:
        yield "perplexity needs max_increase_percent, max_perplexity, or both"
    for name, value in (
        ("deadline_s", acceptance.deadline_s),
        ("min_tokens_per_s", acceptance.min_tokens_per_s),
        ("max_first_token_ms", acceptance.max_first_token_ms),
        ("max_memory_bytes", acceptance.max_memory_bytes),
        ("perplexity.max_perplexity", limit.max_perplexity),
    ):
        if value is not None and not (value > 0 and math.isfinite(value)):
            yield f"{name} must be above 0"
    yield from _out_of_bounds("perplexity.max_increase_percent", limit.max_increase_percent, 0, 1e6)
    if soak is not None:
        yield from _out_of_bounds("soak.duration_s", soak.duration_s, 0, MAX_SOAK_S)
        yield from _out_of_bounds("soak.max_slowdown", soak.max_slowdown, 1, 1e6)
        yield from _out_of_bounds("soak.max_more_errors_percent", soak.max_more_errors_percent, 0, 100)


def _out_of_bounds(name: str, value: float | None, low: float, high: float) -> Iterator[str]:
    if value is not None and not low <= value <= high:
        yield f"{name} must be from {low:g} to {high:g}"
