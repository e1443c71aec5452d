"""What the engine needs of a loaded model, and how a model says that a step did not work."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from skerry_agent.runtime.requests import AdapterFile, GenerateRequest, TokenLogprobs

NO_TOKEN = -1
"""What a sampler says when its grammar allows no token at all: the answer is over."""


class NoRoomError(Exception):
    """The cache has no cells for the batch; nothing of it was computed."""


class StepAbortedError(Exception):
    """The step was broken off; what it put into the cache has to be cut away."""


class EngineBrokenError(Exception):
    """llama.cpp failed in a way after which nothing it holds can be trusted: the process has to end."""


class AdapterUnusableError(Exception):
    """An adapter is damaged, or llama.cpp does not take it; the message says so to the client."""


class Part(NamedTuple):
    """Tokens of one sequence in one step; the last ``outputs`` of them get logits."""

    sequence: int
    position: int
    tokens: Sequence[int]
    outputs: int


class Sampler(Protocol):
    """Chooses the tokens of one request."""

    def next(self, row: int) -> int:
        """The token that follows the one in this row of the last step, or ``NO_TOKEN``."""

    def close(self) -> None:
        """Free it; again is fine."""


class Vocabulary(Protocol):
    """What any thread may use of a model."""

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """The tokens of a text."""

    def check_tokens(self, request: GenerateRequest) -> None:
        """Raise InvalidRequestError for token ids that the model does not have."""

    def sampler(self, request: GenerateRequest, prompt: Sequence[int]) -> Sampler:
        """A sampler for one request; raises InvalidRequestError for a grammar that is none."""


class Model(Vocabulary, Protocol):
    """A loaded model with one cache for all sequences; ``LlamaContext`` is the real one.

    Attributes:
        context_tokens: The most tokens of one sequence.
        kv_tokens: Cells of the cache, for all sequences together.
        batch_tokens: The most tokens of one step.
        sequences: Numbers of sequences, from 0, that the cache knows.
        shares: Whether a sequence can begin with another's cells.
        vocabulary: How many tokens it knows, from 0.
        max_saved_tokens: The longest sequence whose saved state is whole.
    """

    context_tokens: int
    kv_tokens: int
    batch_tokens: int
    sequences: int
    shares: bool
    vocabulary: int
    max_saved_tokens: int

    def piece(self, token: int) -> bytes:
        """The bytes of a token."""

    def is_end(self, token: int) -> bool:
        """Whether a token ends the generation."""

    def decode(self, parts: Sequence[Part]) -> list[int]:
        """Compute a step; return for each part the row of its last token.

        Raises:
            NoRoomError: The cache is full.
            StepAbortedError: It was broken off.
            EngineBrokenError: The process has to end.
        """

    def break_off(self) -> None:
        """Break off the step that is computed now, if one is; any thread may."""

    def logprobs(self, row: int, token: int, top: int) -> TokenLogprobs:
        """Log-probabilities of a token and of the most likely ones, in a row of the last step."""

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` at these positions as well, in place of its own."""

    def check_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        """Read adapters whose bytes were not checked yet; any thread may.

        Raises:
            AdapterUnusableError: The bytes are not those of the digest.
        """

    def load_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        """Have adapters ready for ``use_adapters``; nothing happens for those that are.

        Raises:
            AdapterUnusableError: llama.cpp does not take one.
        """

    def use_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        """Compute the next steps with these adapters, which are loaded."""

    def save_state(self, sequence: int) -> bytearray:
        """What the cache holds of a sequence."""

    def load_state(self, sequence: int, state: memoryview, start: int, end: int) -> bool:
        """Fill an empty sequence's positions; False, and it is empty still, when the state does not fit."""

    def cut(self, sequence: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; 0 frees it."""
