"""Probabilities of a text's tokens on llama.cpp's C API, in a context apart from that of the answers.

Imports llama_cpp and numpy, so this belongs to the runner process only. One thread may use it.
"""

import math
from collections.abc import Sequence

import numpy as np
from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.llama_adapters import LlamaAdapters
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.llama_text_context import LlamaTextContext

WINDOW_TOKENS = 512
STEP_TOKENS = 16
"""Small, since each token has a row of logits: 1 MB with a vocabulary of 262k."""


class LlamaScoreContext:
    """A context of one sequence with a row of logits for each token of a step.

    Args:
        model: The weights; it has to live longer.
        context_tokens: The most tokens of the model's context.
        threads: Threads to use.
        adapters: The model's.

    Raises:
        MemoryError: There is no room for it.
    """

    def __init__(
        self, model: LlamaModel, *, context_tokens: int, threads: int, adapters: LlamaAdapters
    ) -> None:
        self._model = model
        self.window_tokens = min(WINDOW_TOKENS, context_tokens)
        self.step_tokens = min(STEP_TOKENS, self.window_tokens)
        params = lib.llama_context_default_params()
        params.n_ctx = self.window_tokens
        params.n_batch = params.n_ubatch = params.n_outputs_max = self.step_tokens
        params.n_outputs_max_per_seq = 0
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        self._text = LlamaTextContext(model, params, adapters, step_tokens=self.step_tokens, purpose="scores")
        self.begin = self._text.begin
        self.close = self._text.close

    def nats(self, tokens: Sequence[int], position: int, following: Sequence[int]) -> float:
        """Read tokens; returns the sum of -ln p of those that follow each, as far as there are any."""
        self._text.read(tokens, position)
        total = sum(self._surprise(row, token) for row, token in enumerate(following))
        if not math.isfinite(total):
            raise RuntimeError("the model's probabilities are no numbers: its weights are damaged")
        return total

    def _surprise(self, row: int, token: int) -> float:
        """-ln p of a token, after a row of logits."""
        pointer = lib.llama_get_logits_ith(self._text.pointer, row)
        if not pointer:
            raise RuntimeError("llama.cpp has no logits for this token")
        logits = np.ctypeslib.as_array(pointer, shape=(self._model.vocabulary,))
        highest = float(logits.max())
        return (
            highest + math.log(float(np.exp(logits - highest).sum(dtype=np.float64))) - float(logits[token])
        )
