"""OpenAI's requests as values: decoded strictly in their types, lenient about fields that we do not know.

Source: https://platform.openai.com/docs/api-reference (chat and completions). Fields that we know and
cannot honour yet are refused with their name, instead of being ignored.
"""

from typing import TypeVar

import msgspec

from skerry_agent.api.errors import BadRequestError
from skerry_agent.runtime import ChatMessage, GenerateRequest, Sampling

T = TypeVar("T", bound=msgspec.Struct)


class TextPart(msgspec.Struct, frozen=True):
    """One part of a message's content; only text can be served."""

    type: str
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    content: str | list[TextPart] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """Options of streaming."""

    include_usage: bool = False


class ResponseFormat(msgspec.Struct, frozen=True):
    """Only ``text`` can be served."""

    type: str = "text"


class SamplingFields(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of completions share."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None

    def sampling(self) -> Sampling:
        """The sampling parameters; temperature is 1 where OpenAI's default is."""
        given = {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "seed": None if self.seed is None else self.seed % (2**32 - 1),
        }
        return msgspec.structs.replace(Sampling(), **{k: v for k, v in given.items() if v is not None})

    def stops(self) -> tuple[str, ...]:
        """Stop strings as a tuple."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class ChatCompletionRequest(SamplingFields, frozen=True, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None

    def to_generate(self) -> GenerateRequest:
        """The request as the runtime takes it.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        _refuse_unsupported(
            {
                "n": self.n not in (None, 1),
                "tools": bool(self.tools),
                "response_format": self.response_format is not None and self.response_format.type != "text",
                "logprobs": bool(self.logprobs),
            }
        )
        return GenerateRequest(
            messages=tuple(ChatMessage(m.role, _text(m)) for m in self.messages),
            sampling=self.sampling(),
            max_tokens=self.max_completion_tokens
            if self.max_completion_tokens is not None
            else self.max_tokens,
            stop=self.stops(),
        )


class CompletionRequest(SamplingFields, frozen=True, kw_only=True):
    """``POST /v1/completions``. OpenAI's default of 16 tokens holds."""

    prompt: str | list[str]
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = None

    def to_generate(self) -> GenerateRequest:
        """The request as the runtime takes it.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        _refuse_unsupported(
            {
                "n": self.n not in (None, 1),
                "best_of": self.best_of not in (None, 1),
                "echo": self.echo,
                "suffix": self.suffix is not None,
                "logprobs": self.logprobs is not None,
            }
        )
        if isinstance(self.prompt, list) and len(self.prompt) != 1:
            raise BadRequestError("prompt: exactly one text can be completed in a request", "prompt")
        return GenerateRequest(
            prompt=self.prompt if isinstance(self.prompt, str) else self.prompt[0],
            sampling=self.sampling(),
            max_tokens=16 if self.max_tokens is None else self.max_tokens,
            stop=self.stops(),
        )


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a request body.

    Raises:
        BadRequestError: It is not JSON, or a field has the wrong type; names the field.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"request body: {error}") from error


def _text(message: Message) -> str:
    if message.content is None:
        return ""
    if isinstance(message.content, str):
        return message.content
    for part in message.content:
        if part.type != "text":
            raise BadRequestError(f"content of type {part.type!r}: this model takes text only", "messages")
    return "".join(part.text for part in message.content)


def _refuse_unsupported(asked: dict[str, bool]) -> None:
    for name, wanted in asked.items():
        if wanted:
            raise BadRequestError(f"{name}: this is not supported here", name, "unsupported_parameter")
