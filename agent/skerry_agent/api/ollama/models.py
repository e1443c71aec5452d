"""What is there: ``/api/tags``, ``/api/show``, ``/api/ps``, ``/api/version``."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from skerry_agent import __version__
from skerry_agent.api.answering import Answering
from skerry_agent.api.catalog import Served
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.names import ollama_name
from skerry_agent.api.ollama.modelfile import write_modelfile
from skerry_agent.api.ollama.wire import JsonAnswer, Object, timestamp
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError
from skerry_agent.runtime import ModelStatus
from skerry_protocol.names import LOCAL_PREFIX

FOR_EVER_S = 100 * 365 * 86_400.0
"""How long a model stays that is in use, pinned, or kept for ever: a date is asked for."""
OLLAMA_VERSION = "0.12.6"
"""The version of Ollama whose API this is. Clients look at it to know what they may ask for."""
_UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K"))


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /api/show``; ``name`` is the older word for ``model``."""

    model: str = ""
    name: str = ""
    verbose: bool | None = None


async def show_version(_request: Request, _answering: Answering) -> Response:
    """``GET /api/version``."""
    return JsonAnswer({"version": OLLAMA_VERSION, "skerry": __version__})


async def list_tags(_request: Request, answering: Answering) -> Response:
    """``GET /api/tags``: channels, artifacts and presets."""
    catalog = answering.catalog
    artifacts = await catalog.models.artifacts()
    named = [(slot.name, slot.active) for slot in await catalog.models.slots() if slot.active]
    named += [(artifact.ref, artifact) for artifact in artifacts]
    models = [_tag(name, artifact, artifact.installed_at) for name, artifact in named]
    for preset in catalog.presets.all():
        served = await _served(answering, LOCAL_PREFIX + preset.name)
        if served is not None:
            models.append(_tag(served.name, served.artifact, preset.created_at, parent=preset.base))
    return JsonAnswer({"models": models})


async def list_running(_request: Request, answering: Answering) -> Response:
    """``GET /api/ps``: what is loaded."""
    artifacts = {a.file_sha256: a for a in await answering.catalog.models.artifacts()}
    models = []
    for status in answering.runners.status():
        artifact = artifacts.get(status.sha256)
        if artifact is None or status.info is None or status.state != "ready" or status.role == "draining":
            continue
        models.append(
            {
                "name": ollama_name(artifact.ref),
                "model": ollama_name(artifact.ref),
                "size": status.memory_bytes or status.rss_bytes,
                "digest": status.sha256,
                "details": _details(artifact),
                "expires_at": timestamp(time.time() + _left_s(status)),
                "size_vram": 0,
                "context_length": status.info.context_tokens,
            }
        )
    return JsonAnswer({"models": models})


def _left_s(status: ModelStatus) -> float:
    return FOR_EVER_S if status.keep_alive_left_s is None else status.keep_alive_left_s


async def show_model(request: Request, answering: Answering) -> Response:
    """``POST /api/show``."""
    body = decode_body(await request.body(), ShowRequest)
    name = body.model or body.name
    if not name:
        raise BadRequestError("model is required", "model")
    served = await answering.catalog.resolve(name)
    facts = await answering.headers.facts(served.artifact)
    preset = served.preset
    parameters = dict(preset.parameters) if preset else {}
    capabilities = [
        "completion",
        *(["tools"] if facts.knows_tools else []),
        *(["thinking"] if facts.thinks else []),
    ]
    licences = list(preset.license) if preset else []
    if served.artifact.license:
        licences.append(served.artifact.license)
    shown: Object = {
        "license": "\n".join(licences),
        "modelfile": write_modelfile(ollama_name(served.artifact.ref), preset, facts.template),
        "parameters": "\n".join(_parameter_lines(parameters)),
        "template": facts.template,
        "details": _details(served.artifact, parent=preset.base if preset else ""),
        "model_info": _model_info(served.artifact, facts.scalars),
        "capabilities": capabilities,
        "modified_at": timestamp(preset.created_at if preset else served.artifact.installed_at),
    }
    if preset:
        shown |= {"system": preset.system, "messages": msgspec.to_builtins(preset.messages)}
    return JsonAnswer(shown)


async def _served(answering: Answering, name: str) -> Served | None:
    try:
        return await answering.catalog.resolve(name)
    except ModelNotFoundError:
        return None


def _tag(name: str, artifact: InstalledArtifact, modified: float, parent: str = "") -> Object:
    return {
        "name": ollama_name(name),
        "model": ollama_name(name),
        "modified_at": timestamp(modified),
        "size": artifact.length,
        "digest": artifact.file_sha256,
        "details": _details(artifact, parent=parent),
    }


def _details(artifact: InstalledArtifact, parent: str = "") -> Object:
    family = str(artifact.description.get("architecture") or "")
    return {
        "parent_model": parent,
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _size(artifact.description.get("parameters")),
        "quantization_level": str(artifact.description.get("quantization") or ""),
    }


def _size(parameters: object) -> str:
    if not isinstance(parameters, int | float):
        return ""
    for unit, letter in _UNITS:
        if parameters >= unit:
            return f"{parameters / unit:.1f}".removesuffix(".0") + letter
    return str(int(parameters))


def _model_info(artifact: InstalledArtifact, scalars: Mapping[str, object]) -> Object:
    return {"general.parameter_count": artifact.description.get("parameters"), **scalars}


def _parameter_lines(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            yield f"{name:<30} {msgspec.json.encode(one).decode()}"
