"""A response in the making, as OpenAI's events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from collections.abc import AsyncIterator, Collection, Iterator
from typing import TYPE_CHECKING

from skerry_agent.api.errors import describe
from skerry_agent.api.generation import ChoiceEvent
from skerry_agent.api.openai.response_items import call_item, message_item, reasoning_item, text_part
from skerry_agent.api.openai.wire import Object, server_event, token_logprobs
from skerry_agent.api.reply import Content, Piece, Reasoning, ReplyReader, ToolCall
from skerry_agent.errors import AgentError
from skerry_agent.runtime import FinishEvent, TokenEvent, TokenLogprobs

if TYPE_CHECKING:
    from skerry_agent.api.openai.responses import ResponseShape


class ResponseStream:
    """Makes the events of one response; reasoning and message are open one at a time."""

    def __init__(self, shape: "ResponseShape", tools: Collection[str]) -> None:
        self._shape = shape
        self._reader = ReplyReader(tools=tools)
        self._sequence = 0
        self._items: list[Object] = []
        self._open: type[Content | Reasoning] | None = None
        self._text = ""
        self._logprobs: list[TokenLogprobs] = []
        self._unsent: list[TokenLogprobs] = []
        self._calls = 0

    async def encode(self, events: AsyncIterator[ChoiceEvent]) -> AsyncIterator[bytes]:
        """All events; an error after the first byte ends the response as failed."""
        yield self._event("response.created", response=self._shape.begun("in_progress"))
        yield self._event("response.in_progress", response=self._shape.begun("in_progress"))
        try:
            async for _, event in events:
                for data in self._take(event):
                    yield data
        except AgentError as error:
            problem = describe(error)
            fault: Object = {"code": "server_error", "message": problem.message}
            yield self._event("response.failed", response=self._shape.begun("failed", fault))

    def _take(self, event: TokenEvent | FinishEvent) -> Iterator[bytes]:
        if isinstance(event, TokenEvent):
            self._unsent += event.logprobs
            for piece in self._reader.feed(event.text):
                yield from self._piece(piece)
            return
        for piece in self._reader.finish():
            yield from self._piece(piece)
        if not self._items and self._open is None:
            yield from self._begin(Content)
        yield from self._close()
        response = self._shape.finished(self._items, event)
        yield self._event(f"response.{response['status']}", response=response)

    def _piece(self, piece: Piece) -> Iterator[bytes]:
        if isinstance(piece, ToolCall):
            yield from self._close()
            yield from self._call(piece)
            return
        if self._open is not type(piece):
            yield from self._close()
            yield from self._begin(type(piece))
        self._text += piece.text
        where = self._where()
        if isinstance(piece, Reasoning):
            yield self._event("response.reasoning_text.delta", **where, delta=piece.text)
            return
        logprobs, self._unsent = self._unsent, []
        self._logprobs += logprobs
        shown = [token_logprobs(token) for token in logprobs] if self._shape.logprobs else []
        yield self._event("response.output_text.delta", **where, delta=piece.text, logprobs=shown)

    def _begin(self, kind: type[Content | Reasoning]) -> Iterator[bytes]:
        self._open, self._text, self._logprobs = kind, "", []
        if kind is Content:
            item = message_item(self._item_id(), None, status="in_progress")
            part = text_part("")
        else:
            item = reasoning_item(self._item_id(), None, status="in_progress")
            part = {"type": "reasoning_text", "text": ""}
        yield self._event("response.output_item.added", output_index=len(self._items), item=item)
        yield self._event("response.content_part.added", **self._where(), part=part)

    def _close(self) -> Iterator[bytes]:
        """End the open item, if there is one."""
        if self._open is None:
            return
        where = self._where()
        if self._open is Content:
            logprobs = self._logprobs if self._shape.logprobs else []
            item = message_item(self._item_id(), self._text, logprobs)
            part = text_part(self._text, logprobs)
            yield self._event(
                "response.output_text.done", **where, text=self._text, logprobs=part["logprobs"]
            )
        else:
            item = reasoning_item(self._item_id(), self._text)
            part = {"type": "reasoning_text", "text": self._text}
            yield self._event("response.reasoning_text.done", **where, text=self._text)
        yield self._event("response.content_part.done", **where, part=part)
        yield self._event("response.output_item.done", output_index=len(self._items), item=item)
        self._items.append(item)
        self._open = None

    def _call(self, call: ToolCall) -> Iterator[bytes]:
        if self._shape.most_calls is not None and self._calls >= self._shape.most_calls:
            return
        item_id = self._shape.item_id("fc", self._calls)
        call_id = self._shape.call_id(self._calls)
        self._calls += 1
        index = len(self._items)
        where: Object = {"item_id": item_id, "output_index": index}
        begun = call_item(item_id, call_id, call.name, "", "in_progress")
        item = call_item(item_id, call_id, call.name, call.arguments)
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event("response.function_call_arguments.delta", **where, delta=call.arguments)
        yield self._event(
            "response.function_call_arguments.done", **where, name=call.name, arguments=call.arguments
        )
        yield self._event("response.output_item.done", output_index=index, item=item)
        self._items.append(item)

    def _item_id(self) -> str:
        return self._shape.item_id("msg" if self._open is Content else "rs", len(self._items))

    def _where(self) -> Object:
        return {"item_id": self._item_id(), "output_index": len(self._items), "content_index": 0}

    def _event(self, kind: str, **data: object) -> bytes:
        self._sequence += 1
        return server_event({"type": kind, "sequence_number": self._sequence - 1, **data}, kind)
