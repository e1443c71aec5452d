"""Choosing tokens with llama.cpp's samplers.

Imports llama_cpp and numpy, so this belongs to the runner process only. A sampler may be made by any thread
and is used by one.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from skerry_agent.runtime.engine_ports import NO_TOKEN
from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.requests import GenerateRequest, Sampling

if TYPE_CHECKING:
    from skerry_agent.runtime.llama_context import LlamaContext
    from skerry_agent.runtime.llama_model import LlamaModel

# Below this the division of the logits overflows to infinity; the choice is the greedy one anyway.
GREEDY_BELOW_TEMPERATURE = 1e-3
RANDOM_SEED = 0xFFFFFFFF
MAX_REASON_CHARS = 200
MINUS_INFINITY = float("-inf")
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class LlamaSampler:
    """A chain of llama.cpp samplers in its usual order, and a grammar beside it; ``close`` frees both.

    Args:
        model: Whose tokens it chooses.
        context: Whose logits it looks at.
        request: A request that ``validate_request`` has let through.
        prompt: The prompt's tokens.

    Raises:
        InvalidRequestError: The grammar is none.
    """

    def __init__(
        self, model: "LlamaModel", context: "LlamaContext", request: GenerateRequest, prompt: Sequence[int]
    ) -> None:
        self._context = context
        self._vocabulary = model.vocabulary
        sampling = request.sampling
        self._banned = list(model.end_tokens) if request.ignore_eos else []
        biases = dict(sampling.logit_bias)
        if request.ignore_eos:
            biases |= dict.fromkeys(self._banned, MINUS_INFINITY)
        penalised = sampling.repeat_window > 0 and (
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        ) != (1.0, 0.0, 0.0)
        greedy = sampling.temperature < GREEDY_BELOW_TEMPERATURE
        self._simply_likeliest = greedy and not penalised
        self._biased = np.fromiter(biases, np.int64, len(biases))
        self._bias = np.fromiter(biases.values(), np.float32, len(biases))
        self._grammar = _grammar(model, request.grammar) if request.grammar is not None else None
        self._chain: lib.llama_sampler_p | None = lib.llama_sampler_chain_init(
            lib.llama_sampler_chain_default_params()
        )
        if biases:
            self._add_biases(biases)
        if penalised:
            self._add_penalties(sampling, prompt)
        self._add_choice(sampling, greedy=greedy)

    def _add_biases(self, biases: dict[int, float]) -> None:
        array = (lib.llama_logit_bias * len(biases))()
        for entry, (token, bias) in zip(array, biases.items(), strict=True):
            entry.token, entry.bias = token, bias
        self._add(lib.llama_sampler_init_logit_bias(self._vocabulary, len(biases), array))

    def _add_penalties(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        sampler = lib.llama_sampler_init_penalties(
            self._vocabulary,
            sampling.repeat_window,
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        )
        self._add(sampler)
        for token in prompt[-sampling.repeat_window :]:
            lib.llama_sampler_accept(sampler, token)

    def _add_choice(self, sampling: Sampling, *, greedy: bool) -> None:
        if greedy:
            self._add(lib.llama_sampler_init_greedy())
            return
        if sampling.top_k > 0:
            self._add(lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.typical_p < 1.0:
            self._add(lib.llama_sampler_init_typical(sampling.typical_p, 1))
        if sampling.top_p < 1.0:
            self._add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0.0:
            self._add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        seed = RANDOM_SEED if sampling.seed is None else sampling.seed
        self._add(lib.llama_sampler_init_dist(seed))

    def _add(self, sampler: "lib.llama_sampler_p | None") -> None:
        if not sampler or not self._chain:
            raise MemoryError("llama.cpp could not make a sampler")
        lib.llama_sampler_chain_add(self._chain, sampler)

    def next(self, row: int) -> int:
        """The token that follows the one in this row, or ``NO_TOKEN`` when the grammar allows none."""
        if not self._chain:
            raise RuntimeError("the sampler is closed")  # llama.cpp would read address 0
        if self._grammar:
            return self._next_by_grammar(self._context.logits(row))
        if self._simply_likeliest:
            return self._likeliest(self._context.logits(row))
        return self._context.sample(self._chain, row)

    def _next_by_grammar(self, logits: NDArray[np.float32]) -> int:
        """Sample first and ask the grammar about that one token; about all others only if it must not be."""
        likeliest = self._simply_likeliest
        token = self._likeliest(logits) if likeliest else self._choose(self._candidates(logits))
        single = np.array([(token, 1.0, 0.0)], CANDIDATE)
        lib.llama_sampler_apply(self._grammar, ctypes.byref(_data_array(single)))
        if single["logit"][0] == MINUS_INFINITY:
            candidates = self._candidates(logits)
            lib.llama_sampler_apply(self._grammar, ctypes.byref(_data_array(candidates)))
            # The rest of the chain would choose one all the same, and the grammar would end the process.
            if candidates["logit"].max() == MINUS_INFINITY:
                return NO_TOKEN
            token = self._choose(candidates)
        # A token that the grammar forbids would end the process here.
        lib.llama_sampler_accept(self._grammar, token)
        lib.llama_sampler_accept(self._chain, token)
        return token

    def _likeliest(self, logits: NDArray[np.float32]) -> int:
        """The same choice as that of llama.cpp's chain, without its copy of all logits with their tokens."""
        if not len(self._biased):
            return int(logits.argmax())
        # In place, and back: the logits are llama.cpp's own, and log-probabilities are told without biases.
        unbiased = logits[self._biased]
        logits[self._biased] = unbiased + self._bias
        token = int(logits.argmax())
        logits[self._biased] = unbiased
        return token

    def _candidates(self, logits: NDArray[np.float32]) -> NDArray[np.void]:
        candidates = np.zeros(len(logits), CANDIDATE)
        candidates["id"] = np.arange(len(logits), dtype=np.int32)
        candidates["logit"] = logits
        candidates["logit"][self._banned] = MINUS_INFINITY
        return candidates

    def _choose(self, candidates: NDArray[np.void]) -> int:
        array = _data_array(candidates)
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise RuntimeError("llama.cpp chose no token")
        return int(array.data[array.selected].id)

    def close(self) -> None:
        """Free the chain with its samplers, and the grammar; again is fine."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                lib.llama_sampler_free(sampler)
        self._chain = self._grammar = None


def _grammar(model: "LlamaModel", text: str) -> "lib.llama_sampler_p":
    with _captured_stderr() as said:
        sampler: lib.llama_sampler_p | None = lib.llama_sampler_init_grammar(
            model.vocabulary_pointer, text.encode(), b"root"
        )
    if not sampler:
        reason = said[0].splitlines()[0].removeprefix("parse: ") if said[0] else "it gave no reason"
        raise InvalidRequestError(f"llama.cpp cannot read the grammar: {reason[:MAX_REASON_CHARS]}")
    return sampler


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What is written to stderr meanwhile, for him who asked alone.

    llama.cpp prints a grammar that it cannot read, which is somebody's data, and the end of stderr is told
    when a runner crashes.
    """
    said = [""]
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said[0] = file.read().decode(errors="replace").strip()


def _data_array(candidates: NDArray[np.void]) -> "lib.llama_token_data_array":
    pointer = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
    return lib.llama_token_data_array(data=pointer, size=len(candidates), selected=-1, sorted=False)
