from typing import Protocol

from skerry_protocol.topics import DownLeaf


class Outlet(Protocol):
    """Where messages to devices go."""

    async def send(self, device: str, leaf: DownLeaf, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a control message to the broker (QoS 1).

        Returns:
            Whether the broker took it. What it did not take is sent again when the device reports.
        """


class NoOutlet:
    """The outlet of a controller that is not connected: the command line on a data folder."""

    async def send(self, device: str, leaf: DownLeaf, payload: bytes, *, retain: bool = False) -> bool:  # noqa: ARG002 - the protocol's signature
        """Drop it: a device gets its desired state when it next reports."""
        return False
