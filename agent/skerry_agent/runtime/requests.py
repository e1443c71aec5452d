"""What a caller asks of a model, and the events that come back: plain values, no I/O."""

from array import array
from typing import Literal

import msgspec

FinishReason = Literal["stop", "length"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation, as the model's template gets it.

    Attributes:
        role: What the model's template knows: system, user, assistant, tool.
        content: The text.
        tool_calls: JSON text of the list of OpenAI tool calls that this (assistant's) turn made.
        tool_call_id: In a tool's turn, which call it answers; "" for none.
        name: Name of the tool or participant; "" for none.
    """

    role: str
    content: str
    tool_calls: str | None = None
    tool_call_id: str = ""
    name: str = ""


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen. Defaults are llama.cpp's own.

    ``temperature`` 0 is greedy: the most likely token always, all else but bias and penalties ignored.
    ``top_k`` 0, ``top_p`` 1, ``min_p`` 0 and ``typical_p`` 1 switch that filter off. ``seed`` None takes a
    random one. ``repeat_penalty`` 1 is off; ``repeat_window`` is how many of the last tokens penalties look
    at. ``logit_bias`` adds to the logits of token ids, before all else.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_window: int = 64
    seed: int | None = None
    typical_p: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()


class AdapterFile(msgspec.Struct, frozen=True):
    """A LoRA adapter on this device, checked against its base already; ``length`` in bytes.

    Attributes:
        sha256: Lower-case hex digest of the whole file; it is checked again before llama.cpp gets the file.
    """

    path: str
    sha256: str
    length: int


class GenerateRequest(msgspec.Struct, frozen=True):
    """One generation from one of ``messages`` (for the chat template), ``prompt`` and ``prompt_tokens``.

    Attributes:
        max_tokens: None means as many as the context holds.
        stop: Strings that end the answer; they are never part of it.
        client: Who asks, for fair shares of the queue; "" is one client like any other.
        deadline_s: How long it may wait for its turn, in seconds from its submission; None means as long as
            it takes. ``QueueFullError`` after that.
        ignore_eos: Go on past the model's end of the answer, to ``max_tokens``.
        logprobs: None for none; else log-probabilities of each token, and of so many most likely ones.
        grammar: GBNF that the answer has to follow, from its rule ``root``.
        json_schema: JSON text of a JSON schema that the answer has to fit; ``{}`` is any JSON.
        tools: JSON text of the list of OpenAI tools, for the template.
        template_kwargs: JSON text of an object whose members the template sees as variables.
        prefix_cache: Whether this prompt may use, and become, a shared prefix.
        adapters: LoRA adapters on the model that answer; requests with equal ones are computed together.
        context_tokens: Prompt and answer together, where that is to be less than the loaded context holds.
    """

    messages: tuple[ChatMessage, ...] | None = None
    prompt: str | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    prompt_tokens: tuple[int, ...] | None = None
    client: str = ""
    deadline_s: float | None = None
    ignore_eos: bool = False
    logprobs: int | None = None
    grammar: str | None = None
    json_schema: str | None = None
    tools: str | None = None
    template_kwargs: str | None = None
    prefix_cache: bool = True
    adapters: tuple[AdapterFile, ...] = ()
    context_tokens: int | None = None


class Candidate(msgspec.Struct, frozen=True):
    """A token that might have come, and the natural logarithm of its probability.

    The probabilities are the model's own: before bias, penalties, grammar, filters and temperature. ``text``
    holds the token's bytes, which need not be whole characters.
    """

    token: int
    text: bytes
    logprob: float


class TokenLogprobs(msgspec.Struct, frozen=True):
    """One token of the answer, and the most likely ones at its place, most likely first."""

    chosen: Candidate
    top: tuple[Candidate, ...] = ()


class TokenEvent(msgspec.Struct, frozen=True):
    """A piece of the answer: whole characters, not always one token.

    ``text`` is empty only when the event brings log-probabilities. These come with or after their text; all
    of a request's events together hold those of each token but the end of the answer.
    """

    text: str
    logprobs: tuple[TokenLogprobs, ...] = ()


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one request.

    ``completion_tokens`` excludes the end-of-generation token. ``cached_tokens`` are those of the prompt that
    did not have to be read, since a shared prefix held them.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """Where the time went, in milliseconds, as the runner measured it.

    ``first_token_ms`` counts from the submission to the runner (so with the wait in the queue) to the first
    sampled token; ``decode_tokens_per_s`` is 0 when fewer than two tokens were made.
    """

    queue_ms: float
    prompt_ms: float
    first_token_ms: float
    decode_ms: float
    decode_tokens_per_s: float


class FinishEvent(msgspec.Struct, frozen=True):
    """The last event of a generation that went well."""

    reason: FinishReason
    usage: Usage
    timings: Timings


GenerateEvent = TokenEvent | FinishEvent


class EmbedRequest(msgspec.Struct, frozen=True):
    """Texts to embed.

    Attributes:
        inputs: The texts; each becomes one vector.
        client: As in ``GenerateRequest``.
        truncate: Cut a text that is longer than the context, instead of refusing it.
        normalise: Scale each vector to length 1.
        adapters: As in ``GenerateRequest``.
    """

    inputs: tuple[str, ...]
    client: str = ""
    truncate: bool = False
    normalise: bool = True
    adapters: tuple[AdapterFile, ...] = ()


class EmbedResult(msgspec.Struct, frozen=True):
    """One vector for each input, in order: ``dimensions`` little-endian 32-bit floats each."""

    vectors: tuple[bytes, ...]
    dimensions: int
    prompt_tokens: int

    def floats(self) -> list[list[float]]:
        """The vectors as numbers."""
        return [array("f", vector).tolist() for vector in self.vectors]
