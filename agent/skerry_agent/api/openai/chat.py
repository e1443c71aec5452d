"""Answers of chat completions, whole and as server-sent events."""

import time
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.generation import Choice, ChoiceEvent
from skerry_agent.api.openai.chat_request import ChatCompletionRequest
from skerry_agent.api.openai.chat_stream import ChoiceStream, call_object
from skerry_agent.api.openai.wire import (
    DONE,
    EVENT_STREAM,
    JsonAnswer,
    Object,
    chat_logprobs,
    error_event,
    server_event,
    timings_of,
    usage_of,
)
from skerry_agent.api.reply import ReplyPlan, read_reply
from skerry_agent.errors import AgentError
from skerry_agent.runtime import FinishEvent


async def answer_chat(request: Request, answering: Answering) -> Response:
    """``POST /v1/chat/completions``."""
    body = decode_body(await request.body(), ChatCompletionRequest)
    served = await answering.catalog.resolve(body.model)
    plan = body.plan()
    generation = await answering.begin(served, body.requests(plan, served.preset, request.state.client))
    shape = ChatShape(request.state.request_id, body, plan)
    if body.stream:
        return await answering.stream(request, generation, shape.stream, EVENT_STREAM)
    return JsonAnswer(shape.whole(await answering.whole(request, generation)))


class ChatShape:
    """Shapes the answer to one request."""

    def __init__(self, request_id: str, body: ChatCompletionRequest, plan: ReplyPlan) -> None:
        self._id = request_id
        self._body = body
        self._plan = plan
        self._most_calls = 1 if body.parallel_tool_calls is False else None
        self._created = int(time.time())

    def whole(self, choices: Sequence[Choice]) -> Object:
        """The answer in one piece."""
        finishes = [choice.finish for choice in choices]
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "usage": usage_of(finishes, choices_per_prompt=len(finishes)),
            "timings": timings_of(finishes[0]),
        }

    async def stream(self, events: AsyncIterator[ChoiceEvent]) -> AsyncIterator[bytes]:
        """The answer as events; an error after the first byte becomes an event of its own."""
        head = self._head("chat.completion.chunk")
        streams = [
            ChoiceStream(
                index,
                self._id,
                self._plan.names,
                logprobs=bool(self._body.logprobs),
                most_calls=self._most_calls,
            )
            for index in range(self._body.choices())
        ]
        finishes: list[FinishEvent] = []
        try:
            async for index, event in events:
                for choice in streams[index].take(event):
                    yield server_event({**head, "choices": [choice]})
                if isinstance(event, FinishEvent):
                    finishes.append(event)
        except AgentError as error:
            yield error_event(error)
            return
        if self._body.include_usage and finishes:
            usage = usage_of(finishes, choices_per_prompt=len(finishes))
            yield server_event({**head, "choices": [], "usage": usage, "timings": timings_of(finishes[0])})
        yield DONE

    def _choice(self, index: int, choice: Choice) -> Object:
        reply = read_reply(choice.text, tools=self._plan.names)
        calls = reply.calls[: self._most_calls]
        content = reply.content if reply.content or not calls else None
        message: Object = {"role": "assistant", "content": content, "refusal": None}
        if calls:
            message["tool_calls"] = [call_object(self._id, index, n, call) for n, call in enumerate(calls)]
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        return {
            "index": index,
            "message": message,
            "logprobs": chat_logprobs(choice.logprobs) if self._body.logprobs else None,
            "finish_reason": "tool_calls" if calls else choice.finish.reason,
        }

    def _head(self, kind: str) -> Object:
        return {
            "id": f"chatcmpl-{self._id}",
            "object": kind,
            "created": self._created,
            "model": self._body.model,
            "system_fingerprint": None,
        }
