"""The terminal chat, with an API that a test wrote."""

from collections.abc import Iterator
from typing import Any

import pytest

from skerry_agent.cli.chatting import Chat
from skerry_agent.errors import WorldError


def text(content: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}}]}


END = {
    "choices": [],
    "usage": {"completion_tokens": 2},
    "timings": {"decode_tokens_per_s": 12.5},
}


class FakeApi:
    """Answers with what it was given; an exception among the events is raised."""

    def __init__(self, *events: Any) -> None:
        self.events = events or (text("Hel"), text("lo"), END)
        self.bodies: list[dict[str, Any]] = []
        self.closed = 0

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert path == "/v1/chat/completions"
        self.bodies.append({**body, "messages": list(body["messages"])})
        try:
            for event in self.events:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.closed += 1


class Terminal:
    """Remembers what was written, and gives the lines that a test typed."""

    def __init__(self, *lines: str | BaseException) -> None:
        self._lines = iter(lines)
        self.written = ""
        self.told: list[str] = []

    def write(self, piece: str) -> None:
        self.written += piece

    def read(self) -> str:
        line = next(self._lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line


def run(api: FakeApi, *lines: str | BaseException, **more: Any) -> tuple[Chat, Terminal]:
    terminal = Terminal(*lines)
    chat = Chat(api, "assistant", terminal.write, terminal.told.append, **more)
    chat.run(terminal.read)
    return chat, terminal


def test_a_conversation_is_remembered_and_its_speed_shown() -> None:
    api = FakeApi()
    _, terminal = run(api, "hi", "  ", "more", system="Be brief.", options={"temperature": 0})
    assert terminal.written == "HelloHello\n"
    assert "2 tokens, 12.5 tokens/s" in terminal.told[0]
    assert [m["content"] for m in api.bodies[1]["messages"]] == ["Be brief.", "hi", "Hello", "more"]
    assert api.bodies[0]["temperature"] == 0


def test_commands_change_the_conversation_and_are_not_sent() -> None:
    api = FakeApi()
    chat, terminal = run(
        api, "/help", "/system", "/system Be kind.", "hi", "/reset", "yo", "/what", "/bye", "no"
    )
    assert [m["content"] for m in api.bodies[1]["messages"]] == ["Be kind.", "yo"]
    assert len(api.bodies) == 2
    assert "/reset" in terminal.told[0]
    assert "no system prompt" in terminal.told[1]
    assert chat.system == "Be kind."


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said() -> None:
    api = FakeApi(text("Hel"), KeyboardInterrupt())
    chat, terminal = run(api, "hi", "/bye")
    assert chat.messages[-1] == {"role": "assistant", "content": "Hel"}
    assert "stopped" in terminal.told[0]
    assert api.closed == 1


def test_ctrl_c_at_the_prompt_says_how_to_leave() -> None:
    _, terminal = run(FakeApi(), KeyboardInterrupt(), "/bye")
    assert "Ctrl-D" in terminal.told[0]


def test_an_error_ends_only_the_answer() -> None:
    api = FakeApi(WorldError("it died"))
    chat, terminal = run(api, "hi", "again")
    assert "it died" in terminal.told[0]
    assert chat.messages == []
    assert len(api.bodies) == 2


def test_one_question_from_a_pipe_fails_loudly() -> None:
    terminal = Terminal()
    chat = Chat(FakeApi(WorldError("it died")), "a", terminal.write, terminal.told.append)
    with pytest.raises(WorldError):
        chat.answer("hi")


def test_thinking_is_shown_but_not_remembered() -> None:
    api = FakeApi({"choices": [{"delta": {"reasoning_content": "hm "}}]}, text("Yes"), END)
    chat, terminal = run(api, "hi")
    assert terminal.written == "hm Yes\n"
    assert chat.messages[-1]["content"] == "Yes"
