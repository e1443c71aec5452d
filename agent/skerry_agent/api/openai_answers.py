"""OpenAI's answers, whole and as server-sent events."""

import time
from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from skerry_agent.api.errors import describe
from skerry_agent.errors import AgentError
from skerry_agent.runtime import FinishEvent, GenerateEvent, TokenEvent, Usage

AnswerKind = Literal["chat", "text"]


class Answer:
    """Shapes one answer; ``kind`` is ``chat`` or ``text``."""

    def __init__(self, kind: AnswerKind, request_id: str, model: str) -> None:
        self._kind = kind
        self._id = f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{request_id}"
        self._model = model
        self._created = int(time.time())

    def whole(self, text: str, finish: FinishEvent) -> dict[str, object]:
        """The answer in one piece."""
        choice: dict[str, object] = {"index": 0, "logprobs": None, "finish_reason": finish.reason}
        if self._kind == "chat":
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        kind = "chat.completion" if self._kind == "chat" else "text_completion"
        return {
            **self._head(kind),
            "choices": [choice],
            "usage": _usage(finish.usage),
            "timings": msgspec.to_builtins(finish.timings),
        }

    async def stream(
        self, events: AsyncIterator[GenerateEvent], *, include_usage: bool
    ) -> AsyncIterator[bytes]:
        """The answer as events; an error after the first byte becomes an event of its own."""
        try:
            if self._kind == "chat":
                yield self._event({"role": "assistant", "content": ""}, None)
            async for event in events:
                if isinstance(event, TokenEvent):
                    yield self._event({"content": event.text}, None)
                    continue
                yield self._event({}, event.reason)
                if include_usage:
                    kind = "chat.completion.chunk" if self._kind == "chat" else "text_completion"
                    yield _sse({**self._head(kind), "choices": [], "usage": _usage(event.usage)})
        except AgentError as error:
            yield _sse(describe(error)[1])
            return
        yield b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice: dict[str, object] = {"index": 0, "logprobs": None, "finish_reason": finish_reason}
        if self._kind == "chat":
            return _sse({**self._head("chat.completion.chunk"), "choices": [{**choice, "delta": delta}]})
        return _sse(
            {**self._head("text_completion"), "choices": [{**choice, "text": delta.get("content", "")}]}
        )

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _sse(payload: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"
