"""One choice of a streamed chat answer, as the deltas of its chunks."""

from collections.abc import Collection, Iterator

from skerry_agent.api.openai.wire import Object, chat_logprobs
from skerry_agent.api.reply import Content, Piece, Reasoning, ReplyReader, ToolCall
from skerry_agent.runtime import FinishEvent, GenerateEvent, TokenLogprobs


def call_object(request_id: str, choice: int, number: int, call: ToolCall) -> Object:
    """A tool call of an answer."""
    return {
        "id": f"call_{request_id}_{choice}_{number}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


class ChoiceStream:
    """Turns the events of one choice into chunks' choices.

    Args:
        index: Of the choice.
        request_id: For ids of calls.
        tools: Functions that exist.
        logprobs: Whether chunks carry them.
        most_calls: How many calls are passed on; None for all.
    """

    def __init__(
        self, index: int, request_id: str, tools: Collection[str], *, logprobs: bool, most_calls: int | None
    ) -> None:
        self._index = index
        self._id = request_id
        self._reader = ReplyReader(tools=tools)
        self._logprobs: list[TokenLogprobs] | None = [] if logprobs else None
        self._most_calls = most_calls
        self._calls = 0
        self._begun = False

    def take(self, event: GenerateEvent) -> Iterator[Object]:
        """The chunks that an event makes certain."""
        if not self._begun:
            self._begun = True
            yield self._choice({"role": "assistant", "content": ""})
        if isinstance(event, FinishEvent):
            yield from self._deltas(self._reader.finish())
            yield self._choice({}, "tool_calls" if self._calls else event.reason)
            return
        if self._logprobs is not None:
            self._logprobs += event.logprobs
        yield from self._deltas(self._reader.feed(event.text))

    def _deltas(self, pieces: list[Piece]) -> Iterator[Object]:
        for piece in pieces:
            if isinstance(piece, Content):
                yield self._choice({"content": piece.text})
            elif isinstance(piece, Reasoning):
                yield self._choice({"reasoning_content": piece.text})
            elif self._most_calls is None or self._calls < self._most_calls:
                call = {"index": self._calls, **call_object(self._id, self._index, self._calls, piece)}
                self._calls += 1
                yield self._choice({"tool_calls": [call]})

    def _choice(self, delta: Object, reason: str | None = None) -> Object:
        logprobs = None
        if self._logprobs and (reason or delta.get("content")):
            logprobs, self._logprobs = chat_logprobs(self._logprobs), []
        return {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
