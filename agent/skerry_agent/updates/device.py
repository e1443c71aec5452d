"""The real device: its architecture, labels, and the memory that a model could have."""

import platform
from collections.abc import Callable, Mapping


class LinuxDevice:
    """What the runtime and the identity know, as the updates ask for it.

    Args:
        memory: Memory that a model could have in the place of a digest, in bytes (``ModelPool.room_for``).
        cache_tokens: Cells of the KV cache, from the longest context that a model was trained for.
        labels: The device's labels, asked anew each time.
    """

    def __init__(
        self,
        *,
        memory: Callable[[str | None], int],
        cache_tokens: Callable[[int], int],
        labels: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._memory = memory
        self._cache_tokens = cache_tokens
        self._labels = labels

    def facts(self) -> Mapping[str, str]:
        """Labels, and ``arch`` as ``platform.machine()`` gives it."""
        return {**self._labels(), "arch": platform.machine()}

    def model_memory_bytes(self, replaces: str | None) -> int:
        """Memory that a model could have in the place of this digest, with all unloaded that may be."""
        return self._memory(replaces)

    def cache_tokens(self, trained_tokens: int) -> int:
        """Cells of the KV cache of a model that was trained for so many tokens."""
        return self._cache_tokens(trained_tokens)
