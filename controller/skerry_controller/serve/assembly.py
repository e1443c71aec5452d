"""Which services the two applications get, and which long-lived tasks run beside them."""

from fastapi import FastAPI

from skerry_controller.device_api import create_device_app
from skerry_controller.device_api.app import DeviceServices
from skerry_controller.enrollment import EnrollmentService
from skerry_controller.operator_api import Services
from skerry_controller.operator_api.app import create_operator_app
from skerry_controller.operator_api.dependencies import authenticate
from skerry_controller.serve import slices
from skerry_controller.serve.core import Core


def operator_app(core: Core, *room_services: object) -> FastAPI:
    """The operators' application, over HTTP or in process.

    Args:
        core: The opened data folder.
        room_services: Services of rooms that need more than the core.
    """
    return create_operator_app(
        Services(
            core.database,
            core.authorities,
            core.repository,
            core.blobs,
            core.artifacts,
            core.tokens,
            core.admins,
            slices.blob_settings(core.settings),
            slices.operator_api_limits(core.settings),
            *room_services,
        )
    )


def device_app(core: Core, enrollment: EnrollmentService) -> FastAPI:
    """The devices' application."""
    return create_device_app(
        DeviceServices(
            authorities=core.authorities,
            enrollment=enrollment,
            blobs=core.blobs,
            capabilities=core.capabilities,
            clock=core.clock,
            limits=slices.device_api_limits(core.settings),
        )
    )


def local_app(core: Core) -> FastAPI:
    """The operators' application for a command on a data folder that no controller runs on.

    Whoever may open the folder needs no token.
    """
    app = operator_app(core)
    app.dependency_overrides[authenticate] = _local_operator
    return app


async def _local_operator() -> str:
    return "admin:local"
