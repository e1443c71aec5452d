"""Finds tool calls in streamed text, and lets the rest pass as early as it can."""

from collections.abc import Collection

from skerry_agent.api.reply.call_syntax import PREFIXES, read_calls
from skerry_agent.api.reply.pieces import Content, Piece, partial_suffix

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FENCE = "```"


class CallFinder:
    """Feed it text as it comes.

    An answer that begins like JSON may be a call as a whole, so it is held back until its end. Elsewhere only
    what stands between the tags is.

    Args:
        names: Functions that exist.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now."""
        self._held += text
        pieces: list[Piece] = []
        if self._state == "start":
            self._begin()
        while self._state in ("text", "call"):
            before = (self._state, len(self._held))
            self._pass_text(pieces) if self._state == "text" else self._read_call(pieces)
            if (self._state, len(self._held)) == before:
                break
        return pieces

    def finish(self) -> list[Piece]:
        """What is left when the text has ended. A call without its closing tag counts when it is whole."""
        held, self._held = self._held, ""
        if self._state == "start" or not held:
            return [Content(held)] if held else []
        if self._state in ("whole", "call"):
            calls = read_calls(held, self._names)
            if calls is not None:
                return list(calls)
        return [Content(OPEN + held if self._state == "call" else held)]

    def _begin(self) -> None:
        begun = self._held.lstrip()
        if not begun:
            return
        if begun[0] in "{[" or begun.startswith((*PREFIXES, FENCE)):
            self._state = "whole"
        elif not any(start.startswith(begun) for start in (*PREFIXES, FENCE)):
            self._state = "text"

    def _pass_text(self, pieces: list[Piece]) -> None:
        text, opened, rest = self._held.partition(OPEN)
        if opened:
            self._held, self._state = rest, "call"
            text = text.rstrip()
        else:
            # White space too: before a call there is none.
            certain = text[: len(text) - partial_suffix(text, OPEN)].rstrip()
            text, self._held = certain, text[len(certain) :]
        if text:
            pieces.append(Content(text))

    def _read_call(self, pieces: list[Piece]) -> None:
        call, closed, rest = self._held.partition(CLOSE)
        if not closed:
            return
        calls = read_calls(call, self._names)
        pieces += calls if calls is not None else [Content(OPEN + call + CLOSE)]
        self._held, self._state = rest.lstrip() if calls is not None else rest, "text"
