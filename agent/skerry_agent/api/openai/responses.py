"""``POST /v1/responses``: one response object, or its making as events."""

import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.openai.response_items import call_item, message_item, reasoning_item
from skerry_agent.api.openai.responses_request import ResponseRequest
from skerry_agent.api.openai.responses_stream import ResponseStream
from skerry_agent.api.openai.wire import EVENT_STREAM, JsonAnswer, Object
from skerry_agent.api.reply import read_reply
from skerry_agent.runtime import FinishEvent, TokenLogprobs


async def answer_responses(request: Request, answering: Answering) -> Response:
    """``POST /v1/responses``."""
    body = decode_body(await request.body(), ResponseRequest)
    served = await answering.catalog.resolve(body.model)
    plan = body.plan()
    generation = await answering.begin(served, [body.request(plan, served.preset, request.state.client)])
    shape = ResponseShape(request.state.request_id, body)
    if body.stream:
        stream = ResponseStream(shape, plan.names)
        return await answering.stream(request, generation, stream.encode, EVENT_STREAM)
    [choice] = await answering.whole(request, generation)
    reply = read_reply(choice.text, tools=plan.names)
    items = [shape.reasoning(reply.reasoning)] if reply.reasoning else []
    if reply.content or not reply.calls:
        items.append(shape.message(reply.content, choice.logprobs))
    calls = reply.calls[: shape.most_calls]
    items += [
        call_item(shape.item_id("fc", n), shape.call_id(n), c.name, c.arguments) for n, c in enumerate(calls)
    ]
    return JsonAnswer(shape.finished(items, choice.finish))


class ResponseShape:
    """Shapes the response object of one request."""

    def __init__(self, request_id: str, body: ResponseRequest) -> None:
        self._id = request_id
        self._body = body
        self._created = int(time.time())
        self.most_calls = 1 if body.parallel_tool_calls is False else None
        self.logprobs = body.wants_logprobs

    def item_id(self, prefix: str, number: int = 0) -> str:
        """The id of an item of the output."""
        return f"{prefix}_{self._id}_{number}"

    def call_id(self, number: int) -> str:
        """The id by which a call is answered."""
        return self.item_id("call", number)

    def reasoning(self, text: str) -> Object:
        """What the model thought aloud."""
        return reasoning_item(self.item_id("rs"), text)

    def message(self, text: str, logprobs: Sequence[TokenLogprobs]) -> Object:
        """What it said."""
        return message_item(self.item_id("msg"), text, logprobs if self.logprobs else ())

    def finished(self, items: Sequence[Object], finish: FinishEvent) -> Object:
        """The whole response."""
        cut = finish.reason == "length"
        usage = finish.usage
        return {
            **self.begun("incomplete" if cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": list(items),
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def begun(self, status: str, error: Object | None = None) -> Object:
        """The response before it has an output."""
        body = self._body
        text = msgspec.to_builtins(body.text) if body.text else {"format": {"type": "text"}}
        reasoning = msgspec.to_builtins(body.reasoning) if body.reasoning else None
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": [],
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": reasoning or {"effort": None, "summary": None},
            "store": False,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "text": text,
            "tool_choice": "auto" if body.tool_choice is None else msgspec.to_builtins(body.tool_choice),
            "tools": msgspec.to_builtins(body.tools or []),
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "truncation": "disabled",
            "usage": None,
            "metadata": body.metadata or {},
        }
