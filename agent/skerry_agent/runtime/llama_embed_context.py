"""Vectors of tokens on llama.cpp's C API, in a context apart from that of the answers.

Imports llama_cpp and numpy, so this belongs to the runner process only. One thread may use it.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from skerry_agent.runtime.embedding import Pooling
from skerry_agent.runtime.llama_adapters import LlamaAdapters
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.llama_text_context import LlamaTextContext
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
        self._text = LlamaTextContext(
            model, params, adapters, step_tokens=self.step_tokens, purpose="embeddings"
        )
        self.begin = self._text.begin
        self.close = self._text.close
        self._width = int(lib.llama_model_n_embd_out(model.pointer))

    def vectors(self, tokens: Sequence[int], position: int) -> NDArray[np.float32]:
        """The vectors of these tokens, one a row."""
        self._text.read(tokens, position)
        return np.stack([self._vector(row) for row in range(len(tokens))])

    def _vector(self, row: int) -> NDArray[np.float32]:
        address = ctypes.cast(lib.llama_get_embeddings_ith(self._text.pointer, row), ctypes.c_void_p).value
        if not address:
            raise RuntimeError("llama.cpp has no vector for this token")
        return np.array((ctypes.c_float * self._width).from_address(address), np.float32)
