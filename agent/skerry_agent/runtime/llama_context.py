"""Decoding on llama.cpp's C API, with guards where the library would abort the process.

Imports llama_cpp and numpy, so this belongs to the runner process only. One thread may use it.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from skerry_agent.runtime.engine_ports import EngineBrokenError, NoRoomError, Part, StepAbortedError
from skerry_agent.runtime.llama_adapters import LlamaAdapters
from skerry_agent.runtime.llama_model import LlamaModel, LoadRefusedError
from skerry_agent.runtime.llama_sampler import LlamaSampler
from skerry_agent.runtime.requests import AdapterFile, Candidate, GenerateRequest, TokenLogprobs

DECODED, NO_SLOT, ABORTED = 0, 1, 2
MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ: llama.cpp refuses more


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """How big a context is.

    Attributes:
        context_tokens: The most tokens of one sequence; bounded by what the model was trained on.
        kv_tokens: Cells for all sequences together; at least ``context_tokens`` are made.
        batch_tokens: The most tokens of one step.
        sequences: How many sequences it knows at the same time.
        outputs: The most rows of logits of one step; at least ``sequences`` are made.
        threads: Threads to begin with.
    """

    context_tokens: int
    kv_tokens: int
    batch_tokens: int
    sequences: int
    outputs: int
    threads: int


class LlamaContext:
    """One context of many sequences over one unified cache.

    Args:
        model: The weights; it has to live longer.
        options: How big.

    Raises:
        LoadRefusedError: The message says why.
    """

    def __init__(self, model: LlamaModel, options: ContextOptions) -> None:
        self._model = model
        self.vocabulary = model.vocabulary
        self.piece = model.piece
        self.is_end = model.is_end
        self.tokenize = model.tokenize
        self.check_tokens = model.check_tokens
        self.adapters = LlamaAdapters(model)
        self.check_adapters = self.adapters.check
        self.load_adapters = self.adapters.load
        trained = model.train_context_tokens or options.context_tokens
        self.context_tokens = min(options.context_tokens, trained)
        self.sequences = min(options.sequences, MAX_SEQUENCES)
        self.shares = model.unshareable is None
        self._max_outputs = max(options.outputs, self.sequences)
        cells = max(self.context_tokens, options.kv_tokens)
        self._context = self._new_context(cells, options)
        self._memory = lib.llama_get_memory(self._context)
        self.kv_tokens = int(lib.llama_n_ctx(self._context))
        self.batch_tokens = min(options.batch_tokens, int(lib.llama_n_batch(self._context)))
        self._outputs: frozenset[int] = frozenset()
        # Of the layers with a sliding window llama.cpp saves just that.
        self.max_saved_tokens = model.sliding_window - 1 if model.sliding_window else self.context_tokens
        self._row_type = ctypes.c_float * model.vocabulary
        self._make_batch()
        self._listen()

    def _new_context(self, cells: int, options: ContextOptions) -> "lib.llama_context_p":
        params = lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = min(options.batch_tokens, cells)
        params.n_seq_max = self.sequences
        # llama.cpp would make room for the logits of a whole batch, and aborts with less than one a sequence.
        params.n_outputs_max = self._max_outputs
        params.n_outputs_max_per_seq = 0
        params.kv_unified = True
        params.swa_full = True  # else a sliding window forgets the prefix that others want to share
        params.n_threads = params.n_threads_batch = options.threads
        context: lib.llama_context_p | None = lib.llama_init_from_model(self._model.pointer, params)
        if not context:
            raise LoadRefusedError(f"no context of {cells} tokens: {self._model.why()}")
        if lib.llama_n_ctx(context) < cells:
            raise LoadRefusedError(f"llama.cpp gave a context of {lib.llama_n_ctx(context)} tokens only")
        return context

    def _make_batch(self) -> None:
        """Arrays of our own behind llama.cpp's batch: numpy fills them faster than ctypes does."""
        size = self.batch_tokens
        self._token, self._position, self._sequence, counts = (np.zeros(size, np.int32) for _ in range(4))
        self._logits = np.zeros(size, np.int8)
        counts[:] = 1
        pointers = self._sequence.ctypes.data + np.arange(size, dtype=np.uintp) * 4
        self._kept = (counts, pointers)  # the batch points to them

        def pointer(array: NDArray[Any], kind: Any) -> Any:
            return array.ctypes.data_as(ctypes.POINTER(kind))

        self._batch = lib.llama_batch(
            n_tokens=0,
            token=pointer(self._token, lib.llama_token),
            embd=None,
            pos=pointer(self._position, lib.llama_pos),
            n_seq_id=pointer(counts, ctypes.c_int32),
            seq_id=pointer(pointers, ctypes.POINTER(lib.llama_seq_id)),
            logits=pointer(self._logits, ctypes.c_int8),
        )

    def _listen(self) -> None:
        """Have llama.cpp look, between two operations of a step, whether it is to be broken off.

        That has to be a function in C: Python would cost more than many an operation. strlen does: the text
        is empty until ``break_off`` makes it one character long, which is "true".
        """
        self._break = ctypes.create_string_buffer(2)
        look = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
        self._look = look  # llama.cpp calls it for as long as the context lives
        lib.llama_set_abort_callback(self._context, look, ctypes.cast(self._break, ctypes.c_void_p))

    def break_off(self) -> None:
        """Break off the step that is computed now, if one is; any thread may."""
        self._break[0] = b"\x01"

    def set_threads(self, threads: int) -> None:
        """Use another number of threads from the next ``decode`` on."""
        lib.llama_set_n_threads(self._context, threads, threads)

    def use_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        """Compute the next steps with these adapters, which are loaded."""
        self.adapters.use(self._context, adapters)

    def decode(self, parts: Sequence[Part]) -> list[int]:
        """Compute a step; return for each part the row of its last token.

        Raises:
            NoRoomError: The cache is full.
            StepAbortedError: It was broken off.
            EngineBrokenError: The process has to end.
        """
        rows = self._fill(parts)
        self._outputs = frozenset()
        code = lib.llama_decode(self._context, self._batch)
        self._break[0] = b"\x00"  # not before: a call of break_off may have come between our caller and here
        if code == DECODED:
            self._outputs = frozenset(
                row - i for part, row in zip(parts, rows, strict=True) for i in range(part.outputs)
            )
            return rows
        if code == NO_SLOT:
            raise NoRoomError
        if code == ABORTED:
            raise StepAbortedError
        raise EngineBrokenError(f"llama_decode failed with code {code}")

    def _fill(self, parts: Sequence[Part]) -> list[int]:
        tokens: list[int] = []
        positions: list[int] = []
        sequences: list[int] = []
        logits: list[int] = []
        rows: list[int] = []
        # llama.cpp aborts the process on each of what is refused here.
        for sequence, position, run, outputs in parts:
            count = len(run)
            if not 0 <= sequence < self.sequences or not 0 <= outputs <= count or not count:
                raise ValueError("a part of a batch is impossible")
            if position < 0 or position + count > self.context_tokens:
                raise ValueError(f"{count} tokens at {position} do not fit into the context")
            tokens += run
            positions += range(position, position + count)
            sequences += [sequence] * count
            logits += [0] * (count - outputs) + [1] * outputs
            rows.append(len(tokens) - 1)
        total = len(tokens)
        if not 0 < total <= self.batch_tokens:
            raise ValueError(f"{total} tokens do not fit into a batch of {self.batch_tokens}")
        if sum(logits) > self._max_outputs:
            raise ValueError(f"a step has at most {self._max_outputs} rows of logits")
        self._token[:total] = tokens
        self._position[:total] = positions
        self._sequence[:total] = sequences
        self._logits[:total] = logits
        self._batch.n_tokens = total
        return rows

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits of a row of the last step: llama.cpp's own memory, good until the next step."""
        if row not in self._outputs:
            raise RuntimeError("this row has no logits")  # llama.cpp would abort
        pointer = lib.llama_get_logits_ith(self._context, row)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if not address:
            raise RuntimeError("llama.cpp has no logits for this row")
        return np.asarray(self._row_type.from_address(address))

    def likeliest(self, row: int) -> int:
        """The token that follows the one in a row of the last step most likely."""
        return int(self.logits(row).argmax())

    def sample(self, chain: "lib.llama_sampler_p", row: int) -> int:
        """Choose the token that follows the one in a row with a chain, all in C."""
        if row not in self._outputs:
            raise RuntimeError("sampling needs logits")  # llama.cpp would abort
        return int(lib.llama_sampler_sample(chain, self._context, row))

    def sampler(self, request: GenerateRequest, prompt: Sequence[int]) -> LlamaSampler:
        """A sampler for one request; the penalties see the prompt's tokens as well.

        Raises:
            InvalidRequestError: The grammar is none.
        """
        return LlamaSampler(self._model, self, request, prompt)

    def logprobs(self, row: int, token: int, top: int) -> TokenLogprobs:
        """Log-probabilities of a token and of the most likely ones, in a row of the last step."""
        logits = self.logits(row).astype(np.float64)
        logits -= logits.max()
        logits -= np.log(np.exp(logits).sum())
        best: list[int] = []
        if top:
            top = min(top, len(logits))
            chosen = np.argpartition(logits, -top)[-top:]
            best = [int(i) for i in chosen[np.argsort(-logits[chosen], kind="stable")]]
        return TokenLogprobs(self._candidate(logits, token), tuple(self._candidate(logits, i) for i in best))

    def _candidate(self, logprobs: NDArray[np.float64], token: int) -> Candidate:
        return Candidate(token, self.piece(token), float(logprobs[token]))

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` at these positions as well, in place of its own."""
        self._check(source)
        self._check(target)
        lib.llama_memory_seq_rm(self._memory, target, start, end)
        lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def cut(self, sequence: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; 0 frees it."""
        self._check(sequence)
        if not lib.llama_memory_seq_rm(self._memory, sequence, length, -1):
            # A recurrent state cannot be cut in the middle; all of it can always go.
            raise RuntimeError("this model's memory cannot be cut there")

    def save_state(self, sequence: int) -> bytearray:
        """What llama.cpp holds of a sequence: the cells of its positions."""
        self._check(sequence)
        state = bytearray(lib.llama_state_seq_get_size(self._context, sequence))
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        written = lib.llama_state_seq_get_data(self._context, buffer, len(state), sequence)
        if written != len(state):
            raise RuntimeError("llama.cpp did not give the state of a sequence")
        return state

    def load_state(self, sequence: int, state: memoryview, start: int, end: int) -> bool:
        """Fill an empty sequence with what ``save_state`` gave; False, and it is empty, when that fails.

        The state has to be of these positions.

        llama.cpp ends the process on a state that is not whole: check its digest before.
        """
        self._check(sequence)
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        taken = lib.llama_state_seq_set_data(self._context, buffer, len(state), sequence)
        ends = (
            lib.llama_memory_seq_pos_min(self._memory, sequence),
            lib.llama_memory_seq_pos_max(self._memory, sequence),
        )
        if taken == len(state) and ends == (start, end - 1):
            return True
        self.cut(sequence, 0)
        return False

    def _check(self, sequence: int) -> None:
        if not 0 <= sequence < self.sequences:
            raise ValueError(f"there is no sequence {sequence}")  # llama.cpp would abort
