import time
from collections.abc import Callable

from sqlalchemy import select

from skerry_controller.database import Database, DeviceRow
from skerry_controller.fleet.errors import RevokedDeviceError, UnknownDeviceError
from skerry_protocol.envelope import Kind, open_sealed
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.signing import KeySet, load_public


class DeviceKeys:
    """Verifies what devices sign, with the key that each enrolled with."""

    def __init__(
        self,
        database: Database,
        *,
        admitted_s: float = 5.0,
        max_admitted: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up.

        Args:
            database: Where devices are stored.
            admitted_s: For so long an admitted device is not looked up again.
            max_admitted: How many are remembered.
            monotonic: Seconds.
        """
        self._database = database
        self._admitted_s = admitted_s
        self._max_admitted = max_admitted
        self._monotonic = monotonic
        self._admitted: dict[str, float] = {}

    async def admit(self, device: str) -> None:
        """Return when this device may ask for what it need not sign.

        A certificate alone may outlive the right to it.

        Raises:
            UnknownDeviceError, RevokedDeviceError: It may not.
        """
        now = self._monotonic()
        if now < self._admitted.get(device, now):
            return
        await self._public_key(device)
        if len(self._admitted) >= self._max_admitted:
            self._admitted.clear()
        self._admitted[device] = now + self._admitted_s

    async def open(
        self, device: str, kind: Kind, data: bytes, *, limit_bytes: int = DEFAULT_LIMITS.max_frame_bytes
    ) -> bytes:
        """The payload of an envelope that this device signed.

        The key is looked up each time: a revoked device is refused from the next message on.

        Raises:
            ProtocolError: It is malformed, too large, of another kind, or not signed by the device.
            UnknownDeviceError, RevokedDeviceError: The device may not speak.
        """
        key = load_public(await self._public_key(device))
        return open_sealed(data, kind, KeySet([key]), limit_bytes=limit_bytes)

    async def _public_key(self, device: str) -> str:
        query = select(DeviceRow.public_key_pem, DeviceRow.revoked_at).where(DeviceRow.id == device)
        async with self._database.session() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise UnknownDeviceError(f"{device} is not enrolled here")
        if row.revoked_at is not None:
            raise RevokedDeviceError(f"{device} was revoked")
        pem: str = row.public_key_pem
        return pem
