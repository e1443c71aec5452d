"""LoRA adapters of a model on llama.cpp's C API: several on one copy of the weights.

Imports llama_cpp, so this belongs to the runner process only.
"""

import ctypes
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.engine_ports import AdapterUnusableError
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.memory_need import MAX_KEPT_ADAPTERS
from skerry_agent.runtime.requests import AdapterFile

SCALE: Final = 1.0


class LlamaAdapters:
    """What is loaded, and which context uses what. Only ``check`` may be called by any thread.

    Args:
        model: The weights; it has to live longer.
    """

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._checked: set[str] = set()
        self._loaded: dict[str, lib.llama_adapter_lora_p] = {}
        self._used: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._loaded)

    def check(self, adapters: Sequence[AdapterFile]) -> None:
        """Hash what was not hashed yet.

        Raises:
            AdapterUnusableError: A file is gone, or its bytes are not those of its digest.
        """
        for adapter in adapters:
            if adapter.sha256 in self._checked:
                continue
            name = f"the adapter {adapter.sha256[:12]}"
            try:
                with Path(adapter.path).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise AdapterUnusableError(f"{name} cannot be read: {error.strerror}") from error
            if digest != adapter.sha256:
                raise AdapterUnusableError(f"the file of {name} is damaged: get it again")
            self._checked.add(adapter.sha256)

    def load(self, adapters: Sequence[AdapterFile]) -> None:
        """Load what is not loaded.

        Raises:
            AdapterUnusableError: llama.cpp does not take it.
        """
        for adapter in adapters:
            pointer = self._loaded.pop(adapter.sha256, None)
            if pointer is None:
                self.check((adapter,))  # llama.cpp aborts on some damage
                pointer = lib.llama_adapter_lora_init(self._model.pointer, adapter.path.encode())
            if not pointer:
                raise AdapterUnusableError(
                    f"llama.cpp cannot load the adapter {adapter.sha256[:12]}: {self._model.why()}"
                )
            self._loaded[adapter.sha256] = pointer  # at the end: the last used
        self._forget({adapter.sha256 for adapter in adapters})

    def use(self, context: "lib.llama_context_p", adapters: Sequence[AdapterFile]) -> None:
        """Have a context compute with these adapters, which are loaded, and no others."""
        key = tuple(adapter.sha256 for adapter in adapters)
        number = _number(context)
        if self._used.get(number, ()) == key:
            return
        count = len(key)
        pointers: Any = (lib.llama_adapter_lora_p_ctypes * count)()
        for i, sha256 in enumerate(key):
            pointers[i] = self._loaded[sha256]
        scales = (ctypes.c_float * count)(*[SCALE] * count)
        if lib.llama_set_adapters_lora(context, pointers, count, scales) != 0:
            raise RuntimeError("llama.cpp did not take the adapters")
        self._used[number] = key

    def leave(self, context: "lib.llama_context_p") -> None:
        """A context is about to be freed."""
        self._used.pop(_number(context), None)

    def _forget(self, wanted: set[str]) -> None:
        kept = wanted.union(*self._used.values())
        idle = [sha256 for sha256 in self._loaded if sha256 not in kept]
        for sha256 in idle[: max(0, len(self._loaded) - MAX_KEPT_ADAPTERS)]:
            lib.llama_adapter_lora_free(self._loaded.pop(sha256))


def _number(context: "lib.llama_context_p") -> int:
    return int(ctypes.cast(context, ctypes.c_void_p).value or 0)
