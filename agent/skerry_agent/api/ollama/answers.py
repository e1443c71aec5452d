"""``POST /api/generate`` and ``POST /api/chat``: answers whole, or as lines."""

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.catalog import Served
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.generation import Choice, ChoiceEvent, Generation
from skerry_agent.api.ollama.requests import AnswerFields, OllamaChat, OllamaGenerate
from skerry_agent.api.ollama.wire import NDJSON, JsonAnswer, Object, counts, error_line, line, logprobs, now
from skerry_agent.api.reply import Piece, Reasoning, ReplyReader, ToolCall, read_reply
from skerry_agent.errors import AgentError
from skerry_agent.runtime import FinishEvent, GenerateRequest, TokenEvent, TokenLogprobs

Shape = Callable[[str, str, Sequence[ToolCall]], Object]
"""Content, thinking and calls as the fields of an answer."""


async def answer_generate(request: Request, answering: Answering) -> Response:
    """``POST /api/generate``."""
    began = time.monotonic()
    body = decode_body(await request.body(), OllamaGenerate)
    served = await answering.catalog.resolve(body.model)
    if not body.prompt and not body.images:
        return await _load(body, served, answering, {"response": ""})
    wanted = body.request(served, request.state.client)
    return await _Answer(request, answering, served, body, _generated, began).answer(wanted, ())


async def answer_chat(request: Request, answering: Answering) -> Response:
    """``POST /api/chat``."""
    began = time.monotonic()
    body = decode_body(await request.body(), OllamaChat)
    served = await answering.catalog.resolve(body.model)
    if not body.messages:
        return await _load(body, served, answering, {"message": {"role": "assistant", "content": ""}})
    plan = body.plan()
    wanted = body.request(served, plan, request.state.client)
    return await _Answer(request, answering, served, body, _chatted, began).answer(wanted, plan.names)


async def _load(body: AnswerFields, served: Served, answering: Answering, fields: Object) -> Response:
    keep_alive_s = body.keep_alive_s
    await answering.load(served, keep_alive_s)
    reason = "unload" if keep_alive_s == 0 else "load"
    head = {"model": body.model, "created_at": now()}
    return JsonAnswer({**head, **fields, "done": True, "done_reason": reason})


@dataclass(slots=True)
class _Answer:
    """The answer to one request."""

    request: Request
    answering: Answering
    served: Served
    body: AnswerFields
    shape: Shape
    began: float

    async def answer(self, wanted: GenerateRequest, tools: Collection[str]) -> Response:
        """Generate, and shape what comes."""
        thinking = self.body.think is not False
        if self.body.think:
            await self._check_thinking()
        generation = await self.answering.begin(self.served, [wanted], keep_alive_s=self.body.keep_alive_s)
        if not self.body.streamed:
            [choice] = await self.answering.whole(self.request, generation)
            return JsonAnswer(self._whole(choice, generation, tools, thinking=thinking))
        reader = ReplyReader(tools=tools, thinking=thinking)

        def encode(events: AsyncIterator[ChoiceEvent]) -> AsyncIterator[bytes]:
            return self._lines(events, generation, reader)

        return await self.answering.stream(self.request, generation, encode, NDJSON)

    async def _check_thinking(self) -> None:
        facts = await self.answering.headers.facts(self.served.artifact)
        if not facts.thinks:
            raise BadRequestError(f'"{self.body.model}" does not support thinking', "think")

    def _whole(
        self, choice: Choice, generation: Generation, tools: Collection[str], *, thinking: bool
    ) -> Object:
        reply = read_reply(choice.text, tools=tools, thinking=thinking)
        fields = self.shape(reply.content, reply.reasoning, reply.calls)
        if self.body.logprobs:
            fields["logprobs"] = logprobs(choice.logprobs)
        return {**self._head(), **fields, **self._done(choice.finish, generation)}

    async def _lines(
        self, events: AsyncIterator[ChoiceEvent], generation: Generation, reader: ReplyReader
    ) -> AsyncIterator[bytes]:
        unsent: list[TokenLogprobs] = []
        try:
            async for _, event in events:
                if isinstance(event, TokenEvent):
                    unsent += event.logprobs
                    pieces = reader.feed(event.text)
                else:
                    pieces = reader.finish()
                for piece in pieces:
                    yield line(self._part(piece, unsent))
                    unsent = []
                if isinstance(event, FinishEvent):
                    yield line({**self._head(), **self.shape("", "", ()), **self._done(event, generation)})
        except AgentError as error:
            yield error_line(error)

    def _part(self, piece: Piece, tokens: Sequence[TokenLogprobs]) -> Object:
        if isinstance(piece, ToolCall):
            fields = self.shape("", "", (piece,))
        elif isinstance(piece, Reasoning):
            fields = self.shape("", piece.text, ())
        else:
            fields = self.shape(piece.text, "", ())
        if self.body.logprobs and tokens:
            fields["logprobs"] = logprobs(tokens)
        return {**self._head(), **fields, "done": False}

    def _head(self) -> Object:
        return {"model": self.body.model, "created_at": now()}

    def _done(self, finish: FinishEvent, generation: Generation) -> Object:
        total_s = time.monotonic() - self.began
        ended: Object = {"done": True, "done_reason": finish.reason}
        return {**ended, **counts(finish, total_s=total_s, load_s=generation.load_s)}


def _generated(content: str, thinking: str, _calls: Sequence[ToolCall]) -> Object:
    fields: Object = {"response": content}
    if thinking:
        fields["thinking"] = thinking
    return fields


def _chatted(content: str, thinking: str, calls: Sequence[ToolCall]) -> Object:
    message: Object = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [
            {"function": {"index": n, "name": call.name, "arguments": msgspec.json.decode(call.arguments)}}
            for n, call in enumerate(calls)
        ]
    return {"message": message}
