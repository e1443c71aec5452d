"""The administration API on the unix socket: one POST for each operation, JSON in and out."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skerry_agent.admin.service import AdminService
from skerry_agent.errors import AgentError, UsageError
from skerry_agent.registry import disk_errors
from skerry_protocol.errors import ProtocolError

IMPORT_OPERATION = "import_file"
BUNDLE_OPERATION = "bundle_turn"


def operations(service: AdminService) -> dict[str, Callable[..., Awaitable[dict[str, Any]]]]:
    """What can be called, by name; with the arguments of the service's methods."""
    return {
        "status": service.status,
        "models": service.models,
        "recent_events": service.recent_events,
        IMPORT_OPERATION: service.import_file,
        "bundle_begin": service.bundle_begin,
        "bundle_cancel": service.bundle_cancel,
        "activate": service.activate,
        "rollback": service.rollback,
        "remove": service.remove,
        "pin": service.pin,
        "unpin": service.unpin,
        "token_create": service.token_create,
        "token_list": service.token_list,
        "token_revoke": service.token_revoke,
    }


def create_admin_app(service: AdminService, incoming: Path) -> Starlette:
    """The application.

    Args:
        service: The operations.
        incoming: Existing folder for files that are sent in, on the filesystem of the registry.
    """
    table = operations(service)

    async def call(request: Request) -> Response:
        operation = table.get(request.path_params["operation"])
        if operation is None:
            raise UsageError(
                f"no operation {request.path_params['operation']!r}; there are: {', '.join(table)}"
            )
        body = await request.body()
        arguments = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
        return JSONResponse(await operation(**arguments))

    async def import_file(request: Request) -> Response:
        length = request.headers.get("content-length", "")
        await service.prepare_import(int(length) if length.isdecimal() else 0)
        path = incoming / f"{secrets.token_hex(8)}.gguf"
        try:
            with disk_errors("taking in", path), path.open("xb") as file:
                async for block in request.stream():
                    await run_in_threadpool(file.write, block)
            name, base = request.query_params.get("name", ""), request.query_params.get("base")
            return JSONResponse(await service.take_file(path, name, base))
        finally:
            path.unlink(missing_ok=True)

    async def bundle_turn(request: Request) -> Response:
        from skerry_agent.bundles import Answer  # noqa: PLC0415 - only enrolled devices pay for it

        body, answer = await request.body(), None
        match request.query_params.get("status", ""):
            case ("ok" | "missing" | "failed") as status:
                answer = Answer(status, body)
        return JSONResponse(await service.bundle_turn(request.query_params.get("id", ""), answer))

    return Starlette(
        routes=[
            Route(f"/v1/{BUNDLE_OPERATION}", bundle_turn, methods=["POST"]),
            Route(f"/v1/{IMPORT_OPERATION}", import_file, methods=["POST"]),
            Route("/v1/{operation}", call, methods=["POST"]),
        ],
        exception_handlers={
            AgentError: _on_error,
            ProtocolError: _on_error,
            OSError: _on_error,
            msgspec.DecodeError: _on_error,
            TypeError: _on_error,
        },
    )


def _on_error(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
