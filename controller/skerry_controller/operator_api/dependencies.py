"""How routes get what they need: services by type, and who asks.

A room with routes has ``routes.py`` with a ``router`` and takes its service like this::

    Fleet = Annotated[FleetService, Depends(provide(FleetService))]

    @router.get("/devices")
    async def list_devices(fleet: Fleet, actor: Actor) -> list[DeviceBody]: ...

The router is named in :mod:`skerry_controller.operator_api.rooms`; ``serve/`` puts the service in.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from skerry_controller.operator_api.admins import Admins, UnauthorizedError

T = TypeVar("T")


class Services:
    """The services of one application, by their type."""

    def __init__(self, *services: object) -> None:
        self._services = {type(service): service for service in services}

    def get(self, kind: type[T]) -> T:
        """The service of exactly this type.

        Raises:
            RuntimeError: The wiring forgot it.
        """
        service = self._services.get(kind)
        if not isinstance(service, kind):
            raise RuntimeError(  # noqa: TRY004 - the wiring is wrong, not a type
                f"no {kind.__name__} was put into this application"
            )
        return service


def provide(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A FastAPI dependency that gives the service of this type."""

    async def dependency(request: Request) -> T:
        services: Services = request.app.state.services
        return services.get(kind)

    return dependency


_bearer = HTTPBearer(auto_error=False, description="An administrator's token, from 'skerry init'.")


async def authenticate(
    admins: Annotated[Admins, Depends(provide(Admins))],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """Who asks, as it stands in the audit log: ``admin:LABEL``.

    Raises:
        UnauthorizedError: No token, an unknown or a revoked one.
    """
    if credentials is None:
        raise UnauthorizedError("an administrator's token is needed: run 'skerry login', or set SKERRY_TOKEN")
    return await admins.authenticate(credentials.credentials)


Actor = Annotated[str, Depends(authenticate)]
