"""Vectors of tokens on llama.cpp's C API, in a context apart from that of the answers.

Imports llama_cpp and numpy, so this belongs to the runner process only. One thread may use it.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from skerry_agent.runtime.embedding import Pooling
from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.llama_adapters import LlamaAdapters
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.requests import AdapterFile
from skerry_protocol.model_description import vector_step_tokens

WHOLE_TEXT_TOKENS = 512
POOLINGS: dict[str, Pooling] = {"1": "mean", "2": "first", "3": "last"}  # llama_pooling_type


class LlamaEmbedContext:
    """A context of one sequence.

    Args:
        model: The weights; it has to live longer.
        context_tokens: The most tokens of a text.
        threads: Threads to use.
        adapters: The model's.

    Raises:
        MemoryError: There is no room for it.
    """

    def __init__(
        self, model: LlamaModel, *, context_tokens: int, threads: int, adapters: LlamaAdapters
    ) -> None:
        self._model = model
        self._adapters = adapters
        # Where all tokens look at all others, a text has to be computed at once.
        whole = model.metadata(f"{model.architecture}.attention.causal") == "false"
        self.context_tokens = min(context_tokens, WHOLE_TEXT_TOKENS) if whole else context_tokens
        self.step_tokens = (
            self.context_tokens if whole else min(vector_step_tokens(model.vocabulary), context_tokens)
        )
        self.pooling: Pooling = POOLINGS.get(model.metadata(f"{model.architecture}.pooling_type"), "mean")
        params = lib.llama_context_default_params()
        params.n_ctx = self.context_tokens
        params.n_batch = params.n_ubatch = params.n_outputs_max = self.step_tokens
        params.n_outputs_max_per_seq = 0
        params.n_seq_max = 1
        params.embeddings = True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_NONE
        params.n_threads = params.n_threads_batch = threads
        self._context: lib.llama_context_p | None = lib.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise MemoryError(f"llama.cpp made no context for embeddings: {model.why()}")
        self._width = int(lib.llama_model_n_embd_out(model.pointer))
        self._batch = lib.llama_batch_init(self.step_tokens, 0, 1)

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        """Forget the text before, and compute the next one with these adapters."""
        if self._context:
            self._adapters.load(adapters)
            self._adapters.use(self._context, adapters)
        memory = lib.llama_get_memory(self._context) if self._context else None
        if memory is not None:
            lib.llama_memory_clear(memory, False)

    def vectors(self, tokens: Sequence[int], position: int) -> NDArray[np.float32]:
        """The vectors of these tokens, one a row."""
        count = len(tokens)
        # llama.cpp aborts the process on each of these.
        if not self._context or not 0 < count <= self.step_tokens or position + count > self.context_tokens:
            raise ValueError(f"{count} tokens at {position} do not fit into batch or context")
        batch = self._batch
        batch.n_tokens = count
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        code = lib.llama_decode(self._context, batch)
        if code != 0:
            raise EngineBrokenError(f"llama_decode failed with code {code} on embeddings")
        return np.stack([self._vector(row) for row in range(count)])

    def _vector(self, row: int) -> NDArray[np.float32]:
        address = ctypes.cast(lib.llama_get_embeddings_ith(self._context, row), ctypes.c_void_p).value
        if not address:
            raise RuntimeError("llama.cpp has no vector for this token")
        return np.array((ctypes.c_float * self._width).from_address(address), np.float32)

    def close(self) -> None:
        """Free the context; again is fine."""
        context, self._context = self._context, None
        if context:
            self._adapters.leave(context)
            lib.llama_batch_free(self._batch)
            lib.llama_free(context)
