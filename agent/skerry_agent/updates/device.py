"""The real device: what it is, and the memory that a model could have."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from skerry_protocol.device_facts import device_facts
from skerry_protocol.reported import Inventory, Reason


class LinuxDevice:
    """What the runtime and the identity know, as the updates ask for it.

    Args:
        memory: Memory that a model could have in the place of a digest, in bytes (``ModelPool.room_for``).
        cache_tokens: Cells of the KV cache, from the longest context that a model was trained for.
        inventory: What the machine is.
        library: Why llama.cpp cannot run an architecture (``LlamaLibrary.problem``).
        cpuinfo: Where the kernel describes the processor.
    """

    def __init__(
        self,
        *,
        memory: Callable[[str | None], int],
        cache_tokens: Callable[[int], int],
        inventory: Inventory,
        library: Callable[[str], Awaitable[Reason | None]],
        cpuinfo: Path = Path("/proc/cpuinfo"),
    ) -> None:
        self._library = library
        self._cpuinfo = cpuinfo
        self._memory = memory
        self._cache_tokens = cache_tokens
        self._inventory = inventory

    def facts(self) -> Mapping[str, str]:
        """What the machine is, in the words of selectors."""
        return device_facts(
            arch=self._inventory.arch,
            processor=self._inventory.cpu_model,
            cores=self._inventory.cpu_count,
            memory_bytes=self._inventory.memory_bytes,
            features=self.cpu_features(),
        )

    def model_memory_bytes(self, replaces: str | None) -> int:
        """Memory that a model could have in the place of this digest, with all unloaded that may be."""
        return self._memory(replaces)

    def cpu_features(self) -> frozenset[str]:
        """Flags that the kernel gives the processor: ``flags`` on x86, ``Features`` on ARM."""
        try:
            lines = self._cpuinfo.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return frozenset()
        named = (line.partition(":") for line in lines)
        found = (value for name, _, value in named if name.strip().lower() in ("flags", "features"))
        return frozenset(next(found, "").split())

    async def library_problem(self, architecture: str) -> Reason | None:
        """Why this device's llama.cpp cannot run a model of an architecture; None when it may."""
        return await self._library(architecture)

    def cache_tokens(self, trained_tokens: int) -> int:
        """Cells of the KV cache of a model that was trained for so many tokens."""
        return self._cache_tokens(trained_tokens)
