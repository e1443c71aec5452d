"""A controller's data folder and keyring as ``skerry init`` makes them, and its services opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from skerry_controller.clock import utc_now
from skerry_controller.data_folder import DataFolder
from skerry_controller.keyring import Keyring, KeyringSettings
from skerry_controller.serve.assembly import fleet_side, operator_app
from skerry_controller.serve.core import Core, open_core
from skerry_controller.settings import ControllerSettings
from skerry_controller.setup import NewController, Plan, initialise
from skerry_protocol.topics import DEFAULT_ROOT

PASSPHRASE = "correct horse"  # noqa: S105 - protects nothing
CHEAP = KeyringSettings(scrypt_n=2)


@dataclass
class SettableClock:
    """Real time, moved by as much as a test wants."""

    offset: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return utc_now() + self.offset


def plan(folder: Path) -> Plan:
    """What the tests' controllers shall be."""
    return Plan(data=folder / "data", keys=folder / "keys", hosts=("127.0.0.1",))


async def make_controller(folder: Path) -> NewController:
    """A new controller below ``folder``."""
    return await initialise(plan(folder), PASSPHRASE, clock=utc_now, keyring_settings=CHEAP)


def open_keyring(made: NewController) -> Keyring:
    """The operator's keyring."""
    return Keyring.open(made.plan.keys, PASSPHRASE, settings=CHEAP)


@asynccontextmanager
async def opened_core(
    folder: Path, clock: SettableClock | None = None, settings: ControllerSettings | None = None
) -> AsyncIterator[tuple[NewController, Core]]:
    """A new controller with its services opened."""
    made = await make_controller(folder)
    async with open_core(
        DataFolder(made.plan.data), settings or ControllerSettings(), clock or SettableClock()
    ) as core:
        yield made, core


@asynccontextmanager
async def operator_http(core: Core, token: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the operators' application, in process, with a token or without."""
    app = operator_app(core, fleet_side(core, DEFAULT_ROOT))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client
