import pytest

from skerry_agent.runtime import wire
from skerry_agent.runtime.requests import ChatMessage, GenerateRequest, Timings, Usage


@pytest.mark.parametrize(
    "message",
    [
        wire.Load(path="/m.gguf", context_tokens=1, threads=1, batch_tokens=1),
        wire.Submit(1, GenerateRequest(messages=(ChatMessage("user", "é"),), stop=("x",))),
        wire.Submit(2, GenerateRequest(prompt="")),
        wire.Cancel(3),
        wire.Ping(4),
    ],
)
def test_messages_to_a_runner_come_back_equal(message: wire.ToRunner) -> None:
    frame = wire.encode(message)
    assert wire.body_length(frame[:4]) == len(frame) - 4
    assert wire.decode_to_runner(frame[4:]) == message


@pytest.mark.parametrize(
    "message",
    [
        wire.Ready("llama", "llama 1M", 1, 2, 3, 4, 5, has_chat_template=True),
        wire.LoadFailed("why"),
        wire.Progress(1),
        wire.Token(1, "🦭"),
        wire.Finished(1, "stop", Usage(1, 2), Timings(1, 2, 3, 4, 5)),
        wire.Cancelled(1),
        wire.Failed(1, "prompt_too_long", "why", 1, 2),
        wire.Pong(1),
    ],
)
def test_messages_from_a_runner_come_back_equal(message: wire.FromRunner) -> None:
    assert wire.decode_from_runner(wire.encode(message)[4:]) == message


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x81\xa4type\xa7unknown", b"x" * 100])
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_from_runner(body)
    with pytest.raises(wire.WireError):
        wire.decode_to_runner(body)


def test_a_length_over_the_limit_is_refused_before_reading() -> None:
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.body_length(b"\xff\xff\xff\xff")


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.encode(wire.Token(1, "x" * (wire.MAX_FRAME_BYTES + 1)))


def test_messages_of_one_direction_are_none_of_the_other() -> None:
    with pytest.raises(wire.WireError):
        wire.decode_to_runner(wire.encode(wire.Pong(1))[4:])
