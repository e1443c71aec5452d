"""One text at a time on llama.cpp's C API, in a context apart from that of the answers.

Imports llama_cpp, so this belongs to the runner process only. One thread may use it.
"""

from collections.abc import Sequence

from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.llama_adapters import LlamaAdapters
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.requests import AdapterFile


class LlamaTextContext:
    """A context of one sequence, whose every token has an output.

    Args:
        model: The weights; it has to live longer.
        params: The context's parameters.
        adapters: The model's.
        step_tokens: The most tokens of one ``read``.
        purpose: What it is for, in messages.

    Raises:
        MemoryError: There is no room for it.
    """

    def __init__(
        self,
        model: LlamaModel,
        params: "lib.llama_context_params",
        adapters: LlamaAdapters,
        *,
        step_tokens: int,
        purpose: str,
    ) -> None:
        self._adapters = adapters
        self._context_tokens = int(params.n_ctx)
        self._step_tokens = step_tokens
        self._purpose = purpose
        self.pointer: lib.llama_context_p | None = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise MemoryError(f"llama.cpp made no context for {purpose}: {model.why()}")
        self._batch = lib.llama_batch_init(step_tokens, 0, 1)

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        """Forget the text before, and compute the next one with these adapters."""
        if self.pointer:
            self._adapters.load(adapters)
            self._adapters.use(self.pointer, adapters)
        memory = lib.llama_get_memory(self.pointer) if self.pointer else None
        if memory is not None:
            lib.llama_memory_clear(memory, False)

    def read(self, tokens: Sequence[int], position: int) -> None:
        """Compute tokens; each has its row of outputs until the next call.

        Raises:
            ValueError: They do not fit.
            EngineBrokenError: The process has to end.
        """
        count = len(tokens)
        # llama.cpp aborts the process on each of these.
        fits = 0 < count <= self._step_tokens and position + count <= self._context_tokens
        if not self.pointer or not fits:
            raise ValueError(f"{count} tokens at {position} do not fit into batch or context")
        batch = self._batch
        batch.n_tokens = count
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        code = lib.llama_decode(self.pointer, batch)
        if code != 0:
            raise EngineBrokenError(f"llama_decode failed with code {code} on {self._purpose}")

    def close(self) -> None:
        """Free the context; again is fine."""
        context, self.pointer = self.pointer, None
        if context:
            self._adapters.leave(context)
            lib.llama_batch_free(self._batch)
            lib.llama_free(context)
