"""Reads one chat answer: reasoning first, then content and tool calls."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from skerry_agent.api.reply.calling import CallFinder
from skerry_agent.api.reply.pieces import Content, Piece, Reasoning, ToolCall
from skerry_agent.api.reply.thinking import ThinkSplitter


class ReplyReader:
    """Feed it the text of one answer as it comes.

    Args:
        tools: Functions that the model may ask to call; none means that no call is looked for.
        thinking: Whether to take what it thinks aloud apart from the answer.
    """

    def __init__(self, *, tools: Collection[str] = (), thinking: bool = True) -> None:
        self._thinking = ThinkSplitter() if thinking else None
        self._calling = CallFinder(tools) if tools else None

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now."""
        return self._through(self._thinking.feed(text) if self._thinking else [Content(text)])

    def finish(self) -> list[Piece]:
        """What is left when the text has ended."""
        pieces = self._through(self._thinking.finish() if self._thinking else [])
        return pieces + (self._calling.finish() if self._calling else [])

    def _through(self, pieces: Iterable[Piece]) -> list[Piece]:
        out: list[Piece] = []
        for piece in pieces:
            if self._calling is not None and isinstance(piece, Content):
                out += self._calling.feed(piece.text)
            else:
                out.append(piece)
        return out


@dataclass(slots=True)
class Reply:
    """A whole chat answer."""

    content: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)


def read_reply(text: str, *, tools: Collection[str] = (), thinking: bool = True) -> Reply:
    """Read an answer that is there as a whole."""
    reader = ReplyReader(tools=tools, thinking=thinking)
    reply = Reply()
    for piece in [*reader.feed(text), *reader.finish()]:
        if isinstance(piece, ToolCall):
            reply.calls.append(piece)
        elif isinstance(piece, Reasoning):
            reply.reasoning += piece.text
        else:
            reply.content += piece.text
    return reply
