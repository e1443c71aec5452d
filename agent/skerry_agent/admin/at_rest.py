"""The administration service on a state folder whose daemon does not run."""

from contextlib import AsyncExitStack
from types import TracebackType

from skerry_agent.access import TokenStore
from skerry_agent.admin.service import AdminService
from skerry_agent.outbox import Outbox
from skerry_agent.pins import Pins
from skerry_agent.registry import Registry
from skerry_agent.settings import load_settings
from skerry_agent.settings.slices import registry_limits
from skerry_agent.state import StateFolder
from skerry_agent.trusted_time import TrustedTime


class AtRest:
    """Opens registry and outbox, under the folder's lock, for one operation."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> AdminService:
        settings = load_settings(flags={"daemon": {"state_dir": self._state.root}})
        allowed = settings.registry.allow_local_when_enrolled
        async with AsyncExitStack() as stack:
            stack.enter_context(self._state.locked())
            outbox = await Outbox.open(self._state.outbox, clock=TrustedTime(self._state.trusted_time))
            stack.push_async_callback(outbox.close)
            registry = await Registry.open(
                self._state.registry, limits=registry_limits(settings.registry), events=outbox
            )
            stack.push_async_callback(registry.close)
            self._stack = stack.pop_all()
        return AdminService(
            registry=registry,
            outbox=outbox,
            tokens=TokenStore.load(self._state.api_tokens),
            pins=Pins(self._state.pins, settings.runtime.pinned, registry),
            allow_local=lambda: allowed or not self._state.enrolled,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
