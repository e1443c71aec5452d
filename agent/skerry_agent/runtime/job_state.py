"""One request inside the engine, from its submission to its last message."""

import time
from dataclasses import dataclass, field

from skerry_agent.runtime.engine_ports import Part, Sampler
from skerry_agent.runtime.kv_cache import Held
from skerry_agent.runtime.requests import FinishReason, GenerateRequest, Timings, TokenLogprobs, Usage
from skerry_agent.runtime.speculation import Guesses
from skerry_agent.runtime.text_stream import TextStream
from skerry_agent.runtime.wire import Finished

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class JobState:
    """A request; all times are ``time.perf_counter`` in seconds, 0 for "not yet".

    Attributes:
        number: Its number on the wire.
        expires: When it is given up if it has not begun.
        running: It holds a place: only the engine's thread may end it now.
        tokens: Prompt and answer so far.
        prompt_tokens: How many of them are the prompt's.
        limit: The most tokens of the answer.
        held: Its sequence in the cache.
        guesses: The guesses at tokens to come.
        leader: Another request that reads the beginning of the same prompt now, and how much of it; this one
            waits for that.
    """

    number: int
    request: GenerateRequest
    submitted: float = field(default_factory=time.perf_counter)
    expires: float = NEVER
    cancelled: bool = False
    running: bool = False
    tokens: list[int] = field(default_factory=list)
    prompt_tokens: int = 0
    limit: int = 0
    sampler: Sampler | None = None
    held: Held | None = None
    leader: "tuple[JobState, int] | None" = None
    stream: TextStream = field(default_factory=TextStream)
    guesses: Guesses | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    cached_tokens: int = 0
    completion_tokens: int = 0
    started: float = 0.0
    prompt_done: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    last_sent: float = 0.0

    @property
    def client(self) -> str:
        """Whose share it counts towards."""
        return self.request.client

    @property
    def position(self) -> int:
        """Tokens that it has in the cache."""
        return self.held.length if self.held is not None else 0

    @property
    def pending(self) -> int:
        """Tokens that are still to be computed."""
        return len(self.tokens) - self.position

    @property
    def decoding(self) -> bool:
        """Whether it is past its prompt and goes token by token."""
        # Asked of every request in every step: without the properties.
        return self.prompt_done > 0 and self.held is not None and len(self.tokens) - self.held.length == 1

    def decoding_before(self, part: Part) -> bool:
        """Whether a part of a step that was just computed continued its answer."""
        return part.position >= self.prompt_tokens

    def release(self) -> None:
        """Free its sampler, and what its guesses hold; again is fine."""
        guesses, self.guesses = self.guesses, None
        if guesses is not None:
            guesses.close()
        if self.sampler is not None:
            self.sampler.close()

    def finished(self, reason: FinishReason) -> Finished:
        """Its last message."""
        usage = Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
        return Finished(self.number, reason, usage, self._timings())

    def _timings(self) -> Timings:
        decode_s = self.last_token - self.first_token
        rate = (self.completion_tokens - 1) / decode_s if self.completion_tokens > 1 and decode_s > 0 else 0.0
        return Timings(
            queue_ms=(self.started - self.submitted) * 1e3,
            prompt_ms=(self.prompt_done - self.started) * 1e3,
            first_token_ms=(self.first_token - self.submitted) * 1e3,
            decode_ms=max(decode_s, 0.0) * 1e3,
            decode_tokens_per_s=rate,
        )
