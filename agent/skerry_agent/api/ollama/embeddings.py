"""``POST /api/embed`` and the older ``POST /api/embeddings``."""

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.ollama.keep_alive import keep_alive_seconds
from skerry_agent.api.ollama.wire import JsonAnswer, nanoseconds
from skerry_agent.api.vectors import shorten
from skerry_agent.runtime import EmbedRequest


class OllamaEmbed(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /api/embed``."""

    model: str
    input: str | list[str] = ""
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None


class OllamaEmbeddings(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /api/embeddings``."""

    model: str
    prompt: str = ""
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None


async def answer_embed(request: Request, answering: Answering) -> Response:
    """``POST /api/embed``: vectors of length 1."""
    began = time.monotonic()
    body = decode_body(await request.body(), OllamaEmbed)
    served = await answering.catalog.resolve(body.model)
    if body.dimensions is not None and body.dimensions < 1:
        raise BadRequestError(f"dimensions is {body.dimensions}: it must be at least 1", "dimensions")
    inputs = (body.input,) if isinstance(body.input, str) else tuple(body.input)
    keep_alive_s = keep_alive_seconds(body.keep_alive)
    if not any(inputs):
        await answering.load(served, keep_alive_s)
        return JsonAnswer({"model": body.model, "embeddings": []})
    wanted = EmbedRequest(inputs, request.state.client, truncate=body.truncate is not False)
    result, load_s = await answering.embed(request, served, wanted, keep_alive_s=keep_alive_s)
    return JsonAnswer(
        {
            "model": body.model,
            "embeddings": [shorten(vector, body.dimensions).tolist() for vector in result.vectors],
            "total_duration": nanoseconds(time.monotonic() - began),
            "load_duration": nanoseconds(load_s),
            "prompt_eval_count": result.prompt_tokens,
        }
    )


async def answer_embeddings(request: Request, answering: Answering) -> Response:
    """``POST /api/embeddings``: one vector, as the model gave it."""
    body = decode_body(await request.body(), OllamaEmbeddings)
    served = await answering.catalog.resolve(body.model)
    keep_alive_s = keep_alive_seconds(body.keep_alive)
    if not body.prompt:
        await answering.load(served, keep_alive_s)
        return JsonAnswer({"embedding": []})
    wanted = EmbedRequest((body.prompt,), request.state.client, truncate=True, normalise=False)
    result, _ = await answering.embed(request, served, wanted, keep_alive_s=keep_alive_s)
    return JsonAnswer({"embedding": result.floats()[0]})
