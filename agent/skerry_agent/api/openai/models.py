"""``GET /v1/models``: channels, artifacts and presets, each a name that requests can use."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from skerry_agent.api.answering import Answering
from skerry_agent.api.catalog import Served
from skerry_agent.api.openai.wire import JsonAnswer, Object
from skerry_agent.registry import InstalledArtifact
from skerry_protocol.names import LOCAL_PREFIX


async def list_models(_request: Request, answering: Answering) -> Response:
    """``GET /v1/models``."""
    catalog = answering.catalog
    entries = [_entry(a.ref, a) for a in await catalog.models.artifacts()]
    entries += [
        {**_entry(s.name, s.active), **_adapters(s.adapters)}
        for s in await catalog.models.slots()
        if s.active
    ]
    for preset in catalog.presets.all():
        base = next((a for a in await catalog.models.artifacts() if a.ref == preset.base), None)
        entry: Object = {"id": LOCAL_PREFIX + preset.name, "object": "model", "owned_by": "local"}
        entries.append(
            {**entry, "created": int(preset.created_at), "artifact": base.ref if base else preset.base}
        )
    return JsonAnswer({"object": "list", "data": entries})


async def show_model(request: Request, answering: Answering) -> Response:
    """``GET /v1/models/NAME``: one model by any of its names; loaded or not."""
    served = await answering.catalog.resolve(request.path_params["name"])
    entry = {**_entry(served.name, served.artifact), **_adapters(served.adapters)}
    return JsonAnswer({**entry, **_loaded(served, answering)})


def _adapters(adapters: Sequence[InstalledArtifact]) -> Object:
    return {"adapters": [adapter.ref for adapter in adapters]} if adapters else {}


def _loaded(served: Served, answering: Answering) -> Object:
    status = next(
        (s for s in answering.runners.status() if s.sha256 == served.artifact.file_sha256 and s.info), None
    )
    if status is None or status.info is None:
        return {"loaded": False}
    return {"loaded": True, "context_tokens": status.info.context_tokens}


def _entry(name: str, artifact: InstalledArtifact) -> Object:
    return {
        "id": name,
        "object": "model",
        "created": int(artifact.installed_at),
        "owned_by": "fleet" if artifact.signed else "local",
        "artifact": artifact.ref,
        "sha256": artifact.file_sha256,
        "license": artifact.license,
        "meta": dict(artifact.description),
    }
