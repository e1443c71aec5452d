"""Messages between the daemon and a runner process: a length of 4 bytes (big endian), then msgpack."""

import struct
from typing import Final, Literal

import msgspec

from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.requests import (
    AdapterFile,
    EmbedRequest,
    EmbedResult,
    FinishReason,
    GenerateRequest,
    Timings,
    TokenLogprobs,
    Usage,
)

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
HEADER: Final = struct.Struct(">I")

FailureCode = Literal["prompt_too_long", "no_chat_template", "invalid_request", "expired", "failed"]


class WireError(Exception):
    """The other end of the pipe sent what this protocol does not have: it has to be ended."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """The first message to a runner, and sent once: what to load and how."""

    path: str
    context_tokens: int
    threads: int
    batch_tokens: int
    slots: int = 8
    kv_tokens: int = 0
    max_prefixes: int = 32
    step_target_s: float = 0.08
    share_prefixes: Literal["all", "client", "off"] = "all"
    adapt_threads: bool = True
    speculate: bool = True
    max_celsius: float = 0.0
    nice: int = 0
    max_growth_bytes: int = 0
    model_sha256: str = ""
    draft_path: str = ""
    prefix_folder: str = ""
    prefix_max_bytes: int = 0
    prefix_daily_bytes: int = 0


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Run a request; ``job`` is unique within this process."""

    job: int
    request: GenerateRequest


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Compute vectors; ends with Embedded, Failed or Cancelled."""

    job: int
    request: EmbedRequest


class Tokenize(msgspec.Struct, frozen=True, tag="tokenize"):
    """Turn a text into tokens; ends with Tokenized or Failed."""

    job: int
    text: str
    add_special: bool


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    """Turn tokens into the bytes of their text; ends with Detokenized or Failed."""

    job: int
    tokens: tuple[int, ...]


class Score(msgspec.Struct, frozen=True, tag="score"):
    """Find how probable a text is to the model with its adapters; ends with Scored, Failed or Cancelled."""

    job: int
    text: str
    adapters: tuple[AdapterFile, ...] = ()


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop a job, waiting or running; it ends with Cancelled, or with what overtook this message."""

    job: int


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Answered by Pong at once, also while the engine computes."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded."""

    architecture: str
    description: str
    parameters: int
    model_bytes: int
    vocabulary: int
    context_tokens: int
    train_context_tokens: int
    has_chat_template: bool
    draft_refused: str = ""


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model cannot be loaded; the process ends by itself after this."""

    message: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A job moved on without text to show: it started, or a piece of its prompt is done."""

    job: int


class Token(msgspec.Struct, frozen=True, tag="token"):
    """More text of a job's answer, with the log-probabilities of tokens that are shown by now."""

    job: int
    text: str
    logprobs: tuple[TokenLogprobs, ...] = ()


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A job's last message when all went well."""

    job: int
    reason: FinishReason
    usage: Usage
    timings: Timings


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled"):
    """A job's last message when it was cancelled."""

    job: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A job's last message when it could not be run; the numbers belong to ``prompt_too_long``."""

    job: int
    code: FailureCode
    message: str
    prompt_tokens: int = 0
    context_tokens: int = 0


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    """The last message of Embed when all went well."""

    job: int
    result: EmbedResult


class Tokenized(msgspec.Struct, frozen=True, tag="tokenized"):
    """The answer to Tokenize."""

    job: int
    tokens: tuple[int, ...]


class Detokenized(msgspec.Struct, frozen=True, tag="detokenized"):
    """The answer to Detokenize."""

    job: int
    data: bytes


class Scored(msgspec.Struct, frozen=True, tag="scored"):
    """The last message of Score when all went well: -ln p of so many tokens, summed up."""

    job: int
    tokens: int
    nats: float


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to Ping."""

    number: int


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """What the engine counted, about once a second while it works and when it comes to rest."""

    values: EngineStats


ToRunner = Load | Submit | Embed | Score | Tokenize | Detokenize | Cancel | Ping
Outcome = Finished | Embedded | Scored | Tokenized | Detokenized | Cancelled | Failed
FromRunner = Ready | LoadFailed | Progress | Token | Outcome | Pong | Stats

_encoder = msgspec.msgpack.Encoder()
_to_runner: msgspec.msgpack.Decoder[ToRunner] = msgspec.msgpack.Decoder(ToRunner)
_from_runner: msgspec.msgpack.Decoder[FromRunner] = msgspec.msgpack.Decoder(FromRunner)


def encode(message: ToRunner | FromRunner) -> bytes:
    """The whole frame, length included.

    Raises:
        WireError: The message is over ``MAX_FRAME_BYTES``.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise WireError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """The length that a frame's first 4 bytes give.

    Raises:
        WireError: It is over ``MAX_FRAME_BYTES``.
    """
    (length,) = HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    return int(length)


class Frames:
    """Takes a stream apart into the bodies of its frames."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete with this piece of the stream.

        Raises:
            WireError: A frame is over ``MAX_FRAME_BYTES``.
        """
        data = self._data + data if self._data else data
        bodies: list[bytes] = []
        at = 0
        while len(data) - at >= HEADER.size:
            start = at + HEADER.size
            end = start + body_length(data[at:start])
            if end > len(data):
                break
            bodies.append(data[start:end])
            at = end
        self._data = data[at:]
        return bodies


def decode_to_runner(body: bytes) -> ToRunner:
    """Read a message that the daemon sent.

    Raises:
        WireError: The bytes are none.
    """
    try:
        return _to_runner.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(f"not a message to a runner: {error}") from error


def decode_from_runner(body: bytes) -> FromRunner:
    """Read a message that a runner sent.

    Raises:
        WireError: The bytes are none.
    """
    try:
        return _from_runner.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(f"not a message from a runner: {error}") from error
