"""Answers of text completions, whole and as server-sent events."""

import time
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.generation import Choice, ChoiceEvent
from skerry_agent.api.openai.completion_request import CompletionRequest
from skerry_agent.api.openai.wire import (
    DONE,
    EVENT_STREAM,
    JsonAnswer,
    Object,
    error_event,
    logprob,
    server_event,
    timings_of,
    token_text,
    usage_of,
)
from skerry_agent.errors import AgentError
from skerry_agent.runtime import FinishEvent, TokenEvent, TokenLogprobs


async def answer_completions(request: Request, answering: Answering) -> Response:
    """``POST /v1/completions``."""
    body = decode_body(await request.body(), CompletionRequest)
    served = await answering.catalog.resolve(body.model)
    generation = await answering.begin(served, body.requests(served.preset, request.state.client))
    shape = CompletionShape(request.state.request_id, body)
    if body.stream:
        return await answering.stream(request, generation, shape.stream, EVENT_STREAM)
    return JsonAnswer(shape.whole(await answering.whole(request, generation)))


class CompletionShape:
    """Shapes the answer to one request."""

    def __init__(self, request_id: str, body: CompletionRequest) -> None:
        self._body = body
        self._per_prompt = body.choices()
        self._echoes = [str(prompt) if body.echo else "" for prompt in body.prompts()]
        self._head: Object = {
            "id": f"cmpl-{request_id}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": None,
        }

    def whole(self, choices: Sequence[Choice]) -> Object:
        """The answer in one piece."""
        finishes = [choice.finish for choice in choices]
        return {
            **self._head,
            "choices": [
                self._choice(n, self._echo(n) + choice.text, choice.finish.reason, choice.logprobs)
                for n, choice in enumerate(choices)
            ],
            "usage": usage_of(finishes, choices_per_prompt=self._per_prompt),
            "timings": timings_of(finishes[0]),
        }

    async def stream(self, events: AsyncIterator[ChoiceEvent]) -> AsyncIterator[bytes]:
        """The answer as events; an error after the first byte becomes an event of its own."""
        finishes: dict[int, FinishEvent] = {}
        begun: set[int] = set()
        offsets: dict[int, int] = {}
        try:
            async for n, event in events:
                if n not in begun and self._echo(n):
                    yield self._chunk(self._choice(n, self._echo(n)))
                begun.add(n)
                if isinstance(event, TokenEvent):
                    offset = offsets.get(n, 0)
                    yield self._chunk(self._choice(n, event.text, None, event.logprobs, offset))
                    offsets[n] = offset + len(event.text)
                else:
                    finishes[n] = event
                    yield self._chunk(self._choice(n, "", event.reason))
        except AgentError as error:
            yield error_event(error)
            return
        if self._body.include_usage and finishes:
            ordered = [finishes[n] for n in sorted(finishes)]
            usage = usage_of(ordered, choices_per_prompt=self._per_prompt)
            yield server_event(
                {**self._head, "choices": [], "usage": usage, "timings": timings_of(ordered[0])}
            )
        yield DONE

    def _echo(self, n: int) -> str:
        return self._echoes[n // self._per_prompt]

    def _chunk(self, choice: Object) -> bytes:
        return server_event({**self._head, "choices": [choice]})

    def _choice(
        self,
        n: int,
        text: str,
        reason: str | None = None,
        logprobs: Sequence[TokenLogprobs] = (),
        offset: int = 0,
    ) -> Object:
        shown = self._body.logprobs is not None and (logprobs or reason is None)
        return {
            "index": n,
            "text": text,
            "logprobs": _logprobs(logprobs, offset) if shown else None,
            "finish_reason": reason,
        }


def _logprobs(tokens: Sequence[TokenLogprobs], offset: int) -> Object:
    """The older form: lists side by side; offsets are in characters of the answer."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token_text(token.chosen))
    return {
        "tokens": [token_text(token.chosen) for token in tokens],
        "token_logprobs": [logprob(token.chosen) for token in tokens],
        "top_logprobs": [{token_text(o): logprob(o) for o in token.top} for token in tokens],
        "text_offset": offsets,
    }
