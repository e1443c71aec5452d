"""The operators' application: JSON below ``/api/v1``, documented at ``/docs``."""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from skerry_controller.http_guard import BodyLimit, RequestLog
from skerry_controller.operator_api.dependencies import Services, authenticate
from skerry_controller.operator_api.problems import ErrorBody, install_error_answers
from skerry_controller.operator_api.rooms import ROUTERS
from skerry_controller.operator_api.settings import OperatorApiLimits
from skerry_controller.version import VERSION

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request cannot be carried out as it stands"},
    401: {"model": ErrorBody, "description": "No valid administrator's token"},
    404: {"model": ErrorBody, "description": "There is no such thing"},
    409: {"model": ErrorBody, "description": "It exists with other content, or is in use"},
    422: {"model": ErrorBody, "description": "Malformed, or refused"},
    503: {"model": ErrorBody, "description": "Disk, database or a process failed; try again"},
}


def create_operator_app(services: Services) -> FastAPI:
    """The application with the routes of all rooms.

    Args:
        services: What the routes ask for by type.
    """
    app = FastAPI(
        title="Skerry controller",
        version=VERSION,
        description="What operators, their command line and the web pages use. Errors are "
        '`{"code": …, "message": …}`.',
    )
    app.state.services = services
    install_error_answers(app)
    limits = services.get(OperatorApiLimits)
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes, is_exempt=_is_upload)
    app.add_middleware(RequestLog)
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(authenticate)], responses=_PROBLEMS)
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    app.add_api_route("/health", _health, methods=["GET"], tags=["health"], summary="Whether it answers")
    return app


async def _health() -> dict[str, str]:
    return {"status": "ok", "version": VERSION}


def _is_upload(method: str, path: str) -> bool:
    return method == "PUT" and path.startswith(("/api/v1/blobs/", "/api/v1/library/uploads/"))
