"""``POST /v1/embeddings``. Source: https://platform.openai.com/docs/api-reference/embeddings/create."""

import base64
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.openai.wire import JsonAnswer
from skerry_agent.api.vectors import shorten
from skerry_agent.runtime import EmbedRequest


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to embed, with the model that does it."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    def texts(self) -> tuple[str, ...]:
        """The texts.

        Raises:
            BadRequestError: There is none, or token ids are given.
        """
        if isinstance(self.input, str):
            return (self.input,)
        texts = tuple(item for item in self.input if isinstance(item, str))
        if not texts or len(texts) != len(self.input):
            raise BadRequestError("input: a text or a list of texts is needed", "input")
        return texts


async def answer_embeddings(request: Request, answering: Answering) -> Response:
    """``POST /v1/embeddings``."""
    body = decode_body(await request.body(), EmbeddingRequest)
    served = await answering.catalog.resolve(body.model)
    if body.dimensions is not None and body.dimensions < 1:
        raise BadRequestError(f"dimensions is {body.dimensions}: it must be at least 1", "dimensions")
    result, _ = await answering.embed(
        request, served, EmbedRequest(inputs=body.texts(), client=request.state.client)
    )
    data = []
    for index, vector in enumerate(result.vectors):
        values = shorten(vector, body.dimensions)
        shown: object = values.tolist()
        if body.encoding_format == "base64":
            shown = base64.b64encode(values.tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = result.prompt_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JsonAnswer({"object": "list", "data": data, "model": body.model, "usage": usage})
