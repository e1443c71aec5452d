from sqlalchemy import select

from skerry_controller.database import Database, DeviceRow
from skerry_controller.fleet.errors import RevokedDeviceError, UnknownDeviceError
from skerry_protocol.envelope import Kind, open_sealed
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.signing import KeySet, load_public


class DeviceKeys:
    """Verifies what devices sign, with the key that each enrolled with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(
        self, device: str, kind: Kind, data: bytes, *, limit_bytes: int = DEFAULT_LIMITS.max_frame_bytes
    ) -> bytes:
        """The payload of an envelope that this device signed.

        The key is looked up each time: a revoked device is refused from the next message on.

        Raises:
            ProtocolError: It is malformed, too large, of another kind, or not signed by the device.
            UnknownDeviceError, RevokedDeviceError: The device may not speak.
        """
        query = select(DeviceRow.public_key_pem, DeviceRow.revoked_at).where(DeviceRow.id == device)
        async with self._database.session() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise UnknownDeviceError(f"{device} is not enrolled here")
        if row.revoked_at is not None:
            raise RevokedDeviceError(f"{device} was revoked")
        return open_sealed(data, kind, KeySet([load_public(row.public_key_pem)]), limit_bytes=limit_bytes)
