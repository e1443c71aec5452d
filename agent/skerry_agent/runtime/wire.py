"""Messages between the daemon and a runner process: a length of 4 bytes (big endian), then msgpack."""

import struct
from typing import Final, Literal

import msgspec

from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.requests import FinishReason, GenerateRequest, Timings, TokenLogprobs, Usage

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
    nice: int = 0


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Run a request; ``job`` is unique within this process."""

    job: int
    request: GenerateRequest


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


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to Ping."""

    number: int


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """What the engine counted, about once a second while it works and when it comes to rest."""

    values: EngineStats


ToRunner = Load | Submit | Cancel | Ping
FromRunner = Ready | LoadFailed | Progress | Token | Finished | Cancelled | Failed | Pong | Stats

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
