"""The device with the labels that its fleet gave it."""

from collections.abc import Mapping

from skerry_agent.updates.ports import DeviceView
from skerry_protocol.reported import Reason


class LabelledDevice:
    """A :class:`DeviceView` whose facts hold labels too. What the machine is itself, no label overrules.

    Attributes:
        labels: Of the accepted desired state.
    """

    def __init__(self, device: DeviceView) -> None:
        self._device = device
        self.labels: Mapping[str, str] = {}

    def facts(self) -> Mapping[str, str]:
        """Labels, and what the machine is."""
        return {**self.labels, **self._device.facts()}

    def model_memory_bytes(self, replaces: str | None) -> int:
        """As the device says."""
        return self._device.model_memory_bytes(replaces)

    def cpu_features(self) -> frozenset[str]:
        """As the device says."""
        return self._device.cpu_features()

    async def library_problem(self, architecture: str) -> Reason | None:
        """As the device says."""
        return await self._device.library_problem(architecture)

    def cache_tokens(self, trained_tokens: int) -> int:
        """As the device says."""
        return self._device.cache_tokens(trained_tokens)
