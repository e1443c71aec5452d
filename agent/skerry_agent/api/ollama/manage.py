"""What changes models: ``/api/create``, ``/api/copy``, ``/api/delete``; and what is refused: push, blobs."""

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from skerry_agent.api.answering import Answering
from skerry_agent.api.catalog import Served
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.names import canonical_name
from skerry_agent.api.ollama.modelfile import Modelfile, read_modelfile
from skerry_agent.api.ollama.requests import OllamaMessage
from skerry_agent.api.ollama.wire import NDJSON, JsonAnswer, Object, line
from skerry_agent.api.options import read_options
from skerry_agent.api.parts import ApiParts
from skerry_agent.api.presets import Preset, PresetMessage, preset_name
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError
from skerry_protocol.names import LOCAL_PREFIX


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True, rename={"base": "from"}):
    """``POST /api/create``; ``name`` is the older word for ``model``."""

    model: str = ""
    name: str = ""
    base: str | None = None
    modelfile: str | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[OllamaMessage] | None = None
    license: str | list[str] | None = None
    stream: bool | None = None
    # Known, and refused.
    template: str | None = None
    quantize: str | None = None
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None


class CopyRequest(msgspec.Struct, frozen=True):
    """``POST /api/copy``."""

    source: str
    destination: str


class DeleteRequest(msgspec.Struct, frozen=True):
    """``DELETE /api/delete``; ``name`` is the older word for ``model``."""

    model: str = ""
    name: str = ""


async def create_model(request: Request, answering: Answering, parts: ApiParts) -> Response:
    """``POST /api/create``: a preset on a model that is here."""
    body = decode_body(await request.body(), CreateRequest)
    wanted = _wanted(body)
    base = await answering.catalog.resolve(wanted.base)
    preset = _built(await _free_name(body.model or body.name, answering), base, wanted)
    read_options(dict(preset.parameters)).sampling()
    await parts.presets.put(preset)
    await parts.events.emit(
        "preset_created",
        audit=True,
        model=LOCAL_PREFIX + preset.name,
        base=preset.base,
        by=request.state.client,
    )
    layer = f"using existing layer sha256:{base.artifact.file_sha256}"
    states = ["reading model metadata", layer, "writing manifest", "success"]
    return _progress([{"status": state} for state in states], streamed=body.stream is not False)


async def copy_model(request: Request, answering: Answering, parts: ApiParts) -> Response:
    """``POST /api/copy``: another name for a model."""
    body = decode_body(await request.body(), CopyRequest)
    source = await answering.catalog.resolve(body.source)
    name = await _free_name(body.destination, answering)
    preset = _built(name, source, Modelfile(base=body.source))
    await parts.presets.put(preset)
    await parts.events.emit(
        "preset_created", audit=True, model=LOCAL_PREFIX + name, base=preset.base, by=request.state.client
    )
    return Response()


async def delete_model(request: Request, answering: Answering, parts: ApiParts) -> Response:
    """``DELETE /api/delete``: a preset, or a model that a person imported. Never one of the fleet's."""
    body = decode_body(await request.body(), DeleteRequest)
    served = await answering.catalog.resolve(body.model or body.name)
    if served.preset is not None:
        await parts.presets.remove(served.preset.name)
        name = LOCAL_PREFIX + served.preset.name
        await parts.events.emit("preset_removed", audit=True, model=name, by=request.state.client)
        return Response()
    if served.artifact.signed:
        raise BadRequestError(
            f"{served.artifact.ref} belongs to the fleet, which alone takes it away", "model", "model_in_use"
        )
    await _remove_local(served.artifact, answering)
    return Response()


async def push_model(_request: Request, _answering: Answering, _parts: ApiParts) -> Response:
    """``POST /api/push``: models come from the fleet, and never go back there from a device."""
    raise BadRequestError("push: a device publishes nothing; see skerry artifact add at the controller")


async def take_blob(request: Request, answering: Answering, _parts: ApiParts) -> Response:
    """``HEAD /api/blobs/DIGEST``: whether a model's file is here. Sending one in is refused."""
    digest = request.path_params["digest"].removeprefix("sha256:")
    there = any(a.file_sha256 == digest for a in await answering.catalog.models.artifacts())
    if request.method == "HEAD":
        return Response(status_code=200 if there else 404)
    raise BadRequestError("blobs: files come in with skerry-agent import, which checks them")


def _wanted(body: CreateRequest) -> Modelfile:
    """What is asked for, from the fields or from a Modelfile.

    Raises:
        BadRequestError: It cannot be had here.
    """
    for name in ("template", "quantize", "files", "adapters"):
        if getattr(body, name):
            raise BadRequestError(
                f"{name}: a device makes no model files; it can set parameters and a system prompt", name
            )
    wanted = read_modelfile(body.modelfile) if body.modelfile else Modelfile()
    wanted.base = body.base or wanted.base
    if not wanted.base:
        raise BadRequestError("from: name the model to build on", "from")
    wanted.system = body.system if body.system is not None else wanted.system
    wanted.parameters |= body.parameters or {}
    for message in body.messages or ():
        turn = message.to_message()
        wanted.messages.append(PresetMessage(turn.role, turn.content))
    licences = [body.license] if isinstance(body.license, str) else body.license or []
    wanted.license += licences
    return wanted


def _built(name: str, base: Served, wanted: Modelfile) -> Preset:
    """A preset on a model or, with what that has already, on another preset."""
    under = base.preset
    return Preset(
        name=name,
        base=under.base if under else canonical_name(wanted.base),
        system=wanted.system or (under.system if under else ""),
        parameters={**(under.parameters if under else {}), **wanted.parameters},
        messages=tuple(wanted.messages) or (under.messages if under else ()),
        license=tuple(wanted.license) or (under.license if under else ()),
        created_at=round(time.time(), 3),
    )


async def _free_name(name: str, answering: Answering) -> str:
    """The name of a new preset; one that the registry knows is taken.

    Raises:
        BadRequestError: It is taken by a model.
        NameSyntaxError: It breaks the grammar.
    """
    if not name:
        raise BadRequestError("model: a name is needed", "model")
    wanted = preset_name(canonical_name(name))
    for taken in (wanted, LOCAL_PREFIX + wanted):
        try:
            artifact = await answering.catalog.models.find(taken)
        except ModelNotFoundError:
            continue
        raise BadRequestError(f"{name} is a model already ({artifact.ref}): choose another name", "model")
    return wanted


async def _remove_local(artifact: InstalledArtifact, answering: Answering) -> None:
    models = answering.catalog.models
    for adapter in await models.artifacts():
        if adapter.base_sha256 == artifact.file_sha256:
            raise BadRequestError(f"{artifact.ref} is the base of {adapter.ref}: delete that first", "model")
    for slot in await models.slots():
        refs = [pair.parts[-1].ref for pair in (slot.serving, slot.before) if pair is not None]
        if artifact.ref in refs:
            await models.deactivate(slot.name)
    await models.remove(artifact.ref)
    await answering.runners.retire(artifact.file_sha256)


def _progress(states: list[Object], *, streamed: bool) -> Response:
    if not streamed:
        return JsonAnswer(states[-1])

    async def lines() -> AsyncIterator[bytes]:
        for state in states:
            yield line(state)

    return StreamingResponse(lines(), media_type=NDJSON)
