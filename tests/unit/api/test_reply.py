"""Reading answers: whatever the pieces in which text comes, the same reply is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.api.reply import Content, Piece, Reasoning, ReplyReader, ToolCall, read_reply

TOOLS = frozenset({"get_weather", "add"})


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(name, json.dumps(arguments, separators=(",", ":")))


CASES = {
    "plain": ("Hello there.", "Hello there.", "", []),
    "hermes": (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        "",
        "",
        [call("add", a=1)],
    ),
    "two, with words before": (
        """I look. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>
        <tool_call>{"name": "get_weather", "arguments": {}}</tool_call>""",
        "I look.",
        "",
        [call("add", a=1), call("get_weather")],
    ),
    "unclosed at the end": (
        '<tool_call>{"name": "add", "arguments": {"a": 1}}',
        "",
        "",
        [call("add", a=1)],
    ),
    "llama 3": ('{"name": "add", "parameters": {"a": 1}}', "", "", [call("add", a=1)]),
    "llama 3 with its tag, two": (
        '<|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}}',
        "",
        "",
        [call("add", a=1), call("add", a=2)],
    ),
    "mistral": ('[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}]', "", "", [call("add", a=1)]),
    "fenced": ('```json\n{"name": "add", "arguments": {"a": 1}}\n```', "", "", [call("add", a=1)]),
    "arguments as text": ('{"name": "add", "arguments": "{\\"a\\": 1}"}', "", "", [call("add", a=1)]),
    "openai's own form": (
        '{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}',
        "",
        "",
        [call("add", a=1)],
    ),
    "an unknown function": ('{"name": "rm", "arguments": {}}', '{"name": "rm", "arguments": {}}', "", []),
    "json that is an answer": ('{"answer": 42}', '{"answer": 42}', "", []),
    "broken json": ('{"name": "add", "argu', '{"name": "add", "argu', "", []),
    "a broken call": ("<tool_call>nonsense</tool_call> x", "<tool_call>nonsense</tool_call> x", "", []),
    "an angle that is no tag": ("a < b and <tool", "a < b and <tool", "", []),
    "code": ("```python\nprint(1)\n```", "```python\nprint(1)\n```", "", []),
    "thinking": ("<think>\nhm, 2\n</think>\n\nIt is 2.", "It is 2.", "hm, 2", []),
    "thinking, then a call": (
        '<think>hm</think><tool_call>{"name": "add", "arguments": {}}</tool_call>',
        "",
        "hm",
        [call("add")],
    ),
    "thinking that never ends": ("<think>hm, and", "", "hm, and", []),
    "a think tag later on": ("see <think>x</think>", "see <think>x</think>", "", []),
    "spaces only": ("  \n", "  \n", "", []),
    "empty": ("", "", "", []),
}


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_taken_apart(case: str) -> None:
    text, content, reasoning, calls = CASES[case]
    reply = read_reply(text, tools=TOOLS)
    assert (reply.content, reply.reasoning, reply.calls) == (content, reasoning, calls)


@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(1, 12), min_size=1))
def test_it_does_not_matter_where_the_text_is_cut(case: str, sizes: list[int]) -> None:
    text, content, reasoning, calls = CASES[case]
    reader = ReplyReader(tools=TOOLS)
    pieces: list[Piece] = []
    position = 0
    while position < len(text):
        size = sizes[position % len(sizes)]
        pieces += reader.feed(text[position : position + size])
        position += size
    pieces += reader.finish()
    assert [piece for piece in pieces if isinstance(piece, ToolCall)] == calls
    assert "".join(p.text for p in pieces if isinstance(p, Reasoning)) == reasoning
    assert "".join(p.text for p in pieces if isinstance(p, Content)) == content


@given(st.text())
def test_without_tools_and_thinking_text_passes_unchanged(text: str) -> None:
    assert read_reply(text, thinking=False).content == text


@given(st.text(alphabet='<>{}[]"`:,;toolcalthinkpyg_/| \n', max_size=60))
def test_no_text_breaks_the_reader_and_none_is_lost_without_calls(text: str) -> None:
    reply = read_reply(text, tools=TOOLS, thinking=False)
    if not reply.calls:
        assert reply.content.replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")


def test_text_is_passed_on_as_soon_as_it_can_be_no_call() -> None:
    reader = ReplyReader(tools=TOOLS)
    assert reader.feed("He") == [Content("He")]
    assert reader.feed("llo <") == [Content("llo")]
    assert reader.feed("b>") == [Content(" <b>")]


def test_deep_json_is_an_answer_and_no_crash() -> None:
    text = "[" * 100_000
    assert read_reply(text, tools=TOOLS).content == text
