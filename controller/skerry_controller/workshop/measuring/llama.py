"""A model and a context of one sequence on llama.cpp's C API, with guards where the library would abort.

Imports llama_cpp and numpy, so this belongs to child processes only. One thread may use it.
"""

import ctypes
import re
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from skerry_controller.errors import PeerError, UsageError, WorldError

LOG_LEVEL_WARN = 3
LOG_LEVEL_CONTINUES = 5
MAX_PIECE_BYTES = 256

_MIB = 1024 * 1024
_BUFFER = re.compile(r"(\S+)\s+(model|KV|output|compute|RS)\s+buffer size\s*=\s*([0-9.]+) MiB")


class LlamaLog:
    """Sends llama.cpp's warnings and errors to stderr, and keeps what it says of its buffers.

    Attributes:
        buffers: Bytes by kind (``model``, ``KV``, ``output``, ``compute``) and by backend's name.
    """

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, str], int] = {}
        self._last: deque[str] = deque(maxlen=3)
        self._level = 0
        self._callback = lib.llama_log_callback(self._take)  # must live as long as the library calls it
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def why(self) -> str:
        """The last warnings, for the error of what was refused."""
        return " / ".join(self._last) or "it gave no reason"

    def buffer_bytes(self, kind: str, *, backend: str = "") -> int:
        """All buffers of a kind whose backend's name ends so."""
        return sum(size for (k, name), size in self.buffers.items() if k == kind and name.endswith(backend))

    def _take(self, level: int, text: bytes | None, _data: object) -> None:
        line = (text or b"").decode(errors="replace")
        if level != LOG_LEVEL_CONTINUES:
            self._level = level
        found = _BUFFER.search(line)
        if found:
            key = (found[2], found[1])
            self.buffers[key] = self.buffers.get(key, 0) + round(float(found[3]) * _MIB)
        if self._level >= LOG_LEVEL_WARN and line.strip(". \n"):
            self._last.append(line.strip())
            sys.stderr.write(line)
            sys.stderr.flush()


class LlamaModel:
    """Weights and vocabulary.

    Args:
        path: The GGUF file, which is mapped.

    Raises:
        PeerError: llama.cpp does not take it, or it cannot go token by token.
    """

    def __init__(self, path: Path) -> None:
        self.log = LlamaLog()
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
        params.n_gpu_layers = 0
        self.pointer = lib.llama_model_load_from_file(bytes(path), params)
        if not self.pointer:
            raise PeerError(f"llama.cpp cannot load the model: {self.log.why()}")
        self._vocab = lib.llama_model_get_vocab(self.pointer)
        if self._vocab is None or lib.llama_vocab_type(self._vocab) == lib.LLAMA_VOCAB_TYPE_NONE:
            raise PeerError("the file holds no vocabulary: text cannot be read with it")
        encodes = lib.llama_model_has_encoder(self.pointer) or not lib.llama_model_has_decoder(self.pointer)
        if encodes or lib.llama_model_is_diffusion(self.pointer):
            raise PeerError("only models that go on token by token can be measured; this one does not")
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self.trained_tokens = int(lib.llama_model_n_ctx_train(self.pointer))
        self.begin_token = int(lib.llama_vocab_bos(self._vocab))
        self.begins = bool(lib.llama_vocab_get_add_bos(self._vocab)) and self._exists(self.begin_token)

    @property
    def chat_template(self) -> str | None:
        """The template's source; None when the file has none."""
        source = lib.llama_model_chat_template(self.pointer, None)
        return source.decode(errors="replace") if source else None

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """The tokens of a text; names of special tokens in it count as such.

        Args:
            text: What to read.
            add_special: Let the model add its begin-of-sequence token, if it is made for that.
        """
        raw = text.encode()
        room = len(raw) + 8
        for _ in range(2):
            tokens = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocab, raw, len(raw), tokens, room, add_special, True)
            if count >= 0:
                return list(tokens[:count])
            room = -count
        raise WorldError("llama.cpp cannot tokenize the text")

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for control tokens."""
        buffer = ctypes.create_string_buffer(MAX_PIECE_BYTES)
        length = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def special_text(self, *, begin: bool) -> str:
        """Text of the token that begins, or ends, a sequence; "" when the model has none."""
        token = self.begin_token if begin else int(lib.llama_vocab_eos(self._vocab))
        text = lib.llama_vocab_get_text(self._vocab, token) if self._exists(token) else None
        return text.decode(errors="replace") if text else ""

    def is_end(self, token: int) -> bool:
        """Whether it ends an answer."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def _exists(self, token: int) -> bool:
        return 0 <= token < self.vocabulary  # of another id llama.cpp would end the process


class LlamaContext:
    """One sequence.

    Args:
        model: The weights; it has to live longer.
        tokens: How long the sequence may get.
        batch: The most tokens of one step.
        threads: Threads to begin with.
        all_rows: Give each token its row of logits; else only the last one of each ``read`` has one.

    Raises:
        WorldError: There is no memory for it.
    """

    def __init__(
        self, model: LlamaModel, *, tokens: int, batch: int, threads: int, all_rows: bool = False
    ) -> None:
        self._model = model
        self._all_rows = all_rows
        self.batch_tokens = min(batch, tokens)
        params = lib.llama_context_default_params()
        params.n_ctx = tokens
        params.n_batch = params.n_ubatch = self.batch_tokens
        params.n_seq_max = 1
        params.n_outputs_max = self.batch_tokens if all_rows else 1
        params.n_outputs_max_per_seq = 0
        params.swa_full = True  # as an agent's runner has it; and the sequence can be cut back
        params.n_threads = params.n_threads_batch = threads
        self._context = lib.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise WorldError(f"llama.cpp made no context of {tokens} tokens: {model.log.why()}")
        self.tokens = int(lib.llama_n_ctx(self._context))
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(self.batch_tokens, 0, 1)
        self.length = 0

    def set_threads(self, threads: int) -> None:
        """Use another number of threads from now on."""
        lib.llama_set_n_threads(self._context, threads, threads)

    def read(self, tokens: Sequence[int]) -> None:
        """Compute tokens after those that are there, at most one batch, and wait for the end.

        Raises:
            UsageError: They do not fit.
            WorldError: llama.cpp failed.
        """
        count = len(tokens)
        # llama.cpp aborts the process on each of these.
        if not 0 < count <= self.batch_tokens or self.length + count > self.tokens:
            raise UsageError(f"{count} tokens at {self.length} do not fit into a context of {self.tokens}")
        batch = self._batch
        batch.n_tokens = count
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = self.length + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1 if self._all_rows or i == count - 1 else 0
        code = lib.llama_decode(self._context, batch)
        if code != 0:
            raise WorldError(f"llama.cpp could not compute {count} tokens at {self.length}: code {code}")
        lib.llama_synchronize(self._context)
        self.length += count

    def read_all(self, tokens: Sequence[int]) -> None:
        """The same with any number of tokens that the context has room for."""
        for start in range(0, len(tokens), self.batch_tokens):
            self.read(tokens[start : start + self.batch_tokens])

    def row(self, index: int = -1) -> NDArray[np.float32]:
        """Logits of one token of the last ``read`` (-1: its last): valid until the next one.

        Raises:
            PeerError: They are no numbers.
        """
        pointer = lib.llama_get_logits_ith(self._context, index)
        if not pointer:
            raise WorldError("llama.cpp has no logits for this token")
        row: NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape=(self._model.vocabulary,))
        if not np.isfinite(row.max()):
            raise PeerError("the model's probabilities are no numbers: its weights are damaged")
        return row

    def cut(self, length: int) -> bool:
        """Keep so many tokens from the beginning; False, and nothing is left, when only all can go."""
        if lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.length = length
            return True
        lib.llama_memory_clear(self._memory, False)
        self.length = 0
        return False

    def close(self) -> None:
        """Free it."""
        context, self._context = self._context, None
        if context:
            lib.llama_batch_free(self._batch)
            lib.llama_free(context)


def ordinary_tokens(model: LlamaModel, count: int, seed: int = 0) -> list[int]:
    """Tokens to measure with, the same for every run."""
    low, high = model.vocabulary // 4, max(model.vocabulary // 2, model.vocabulary // 4 + 1)
    generator: Any = np.random.default_rng(seed)  # special tokens stand at the ends of most vocabularies
    return [int(token) for token in generator.integers(low, high, count)]
