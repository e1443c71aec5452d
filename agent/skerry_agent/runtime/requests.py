"""What a caller asks of a model, and the events that come back: plain values, no I/O."""

import math
from typing import Literal

import msgspec

from skerry_agent.runtime.errors import InvalidRequestError

MAX_STOP_STRINGS = 16
MAX_STOP_CHARS = 256
MAX_TEMPERATURE = 100.0
MAX_SEED = 2**32 - 2  # 2**32 - 1 is llama.cpp's LLAMA_DEFAULT_SEED: "take a random one".
MAX_TOP_K = 2**31 - 1
MAX_REPEAT_WINDOW = 65_536
MAX_ROLE_CHARS = 64
MAX_MESSAGES = 4096

FinishReason = Literal["stop", "length"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation; ``role`` is what the model's template knows (system, user, assistant)."""

    role: str
    content: str


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen. Defaults are llama.cpp's own.

    ``temperature`` 0 is greedy: the most likely token always, all else but the penalties ignored.
    ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 switch that filter off. ``seed`` None takes a random one.
    ``repeat_penalty`` 1 is off; ``repeat_window`` is how many of the last tokens penalties look at.
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


class GenerateRequest(msgspec.Struct, frozen=True):
    """One generation: either ``messages`` (through the model's chat template) or ``prompt`` (as it is).

    ``max_tokens`` None means as many as the context holds. Stop strings are never part of the answer.
    """

    messages: tuple[ChatMessage, ...] | None = None
    prompt: str | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class TokenEvent(msgspec.Struct, frozen=True):
    """A piece of the answer: whole characters, never empty, not always one token."""

    text: str


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one request. ``completion_tokens`` excludes the end-of-generation token."""

    prompt_tokens: int
    completion_tokens: int


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


def validate_request(request: GenerateRequest, *, max_prompt_bytes: int) -> None:
    """Refuse what no model can run, and what would make llama.cpp abort.

    Args:
        request: The request to look at.
        max_prompt_bytes: Limit for all text of the prompt together, in bytes of UTF-8.

    Raises:
        InvalidRequestError: With the field's name, its value and what is allowed.
    """
    _validate_prompt(request, max_prompt_bytes)
    _validate_sampling(request.sampling)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidRequestError(f"max_tokens is {request.max_tokens}: it must be at least 1")
    if len(request.stop) > MAX_STOP_STRINGS:
        raise InvalidRequestError(
            f"stop has {len(request.stop)} strings: at most {MAX_STOP_STRINGS} are allowed"
        )
    for text in request.stop:
        if not 1 <= len(text) <= MAX_STOP_CHARS:
            raise InvalidRequestError(
                f"a stop string has {len(text)} characters: 1 to {MAX_STOP_CHARS} are allowed"
            )


def _validate_prompt(request: GenerateRequest, max_prompt_bytes: int) -> None:
    if (request.messages is None) == (request.prompt is None):
        raise InvalidRequestError("give either messages or prompt, and not both")
    if request.messages is not None:
        _validate_messages(request.messages)
    texts = [text for m in request.messages or () for text in (m.role, m.content)]
    if request.prompt is not None:
        texts.append(request.prompt)
    size = 0
    for text in (*texts, *request.stop):
        try:
            size += len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                "the request's text holds a lone surrogate, which no UTF-8 text can: send valid Unicode"
            ) from error
    if size > max_prompt_bytes:
        raise InvalidRequestError(f"the prompt has {size} bytes: at most {max_prompt_bytes} are allowed")


def _validate_messages(messages: tuple[ChatMessage, ...]) -> None:
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidRequestError(f"there are {len(messages)} messages: 1 to {MAX_MESSAGES} are allowed")
    for message in messages:
        if not 1 <= len(message.role) <= MAX_ROLE_CHARS:
            raise InvalidRequestError(
                f"a message's role has {len(message.role)} characters: 1 to {MAX_ROLE_CHARS} are allowed"
            )


def _validate_sampling(sampling: Sampling) -> None:
    _check("temperature", sampling.temperature, 0.0, MAX_TEMPERATURE)
    _check("top_k", sampling.top_k, 0, MAX_TOP_K)
    _check("top_p", sampling.top_p, 0.0, 1.0)
    _check("min_p", sampling.min_p, 0.0, 1.0)
    _check("repeat_penalty", sampling.repeat_penalty, 0.01, 10.0)
    _check("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0)
    _check("presence_penalty", sampling.presence_penalty, -2.0, 2.0)
    _check("repeat_window", sampling.repeat_window, 0, MAX_REPEAT_WINDOW)
    if sampling.seed is not None:
        _check("seed", sampling.seed, 0, MAX_SEED)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequestError(f"{name} is {value}: it must be from {low} to {high}")
