"""The weights and the vocabulary of a model on llama.cpp's C API; any thread may use them.

Imports llama_cpp, so this belongs to the runner process only.
"""

import ctypes
import functools
import sys
from collections import deque
from pathlib import Path

from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.requests import GenerateRequest

LOG_LEVEL_WARN = 3
LOG_LEVEL_CONTINUES = 5
MAX_PIECE_BYTES = 256
MAX_PIECES = 16_384
MAX_META_BYTES = 256


class LoadRefusedError(Exception):
    """llama.cpp did not take the file, or it is no model that can generate text."""


class _Log:
    """Sends llama.cpp's warnings and errors to stderr, and keeps the last for the error of a failed load."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=3)
        self._shown = False
        self._callback = lib.llama_log_callback(self._take)  # must live as long as the library calls it
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes | None, _data: object) -> None:
        if level != LOG_LEVEL_CONTINUES:
            self._shown = level >= LOG_LEVEL_WARN
        if not self._shown or not text:
            return
        line = text.decode(errors="replace")
        sys.stderr.write(line)
        sys.stderr.flush()
        if line.strip(". \n"):
            self.last.append(line.strip())


class LlamaModel:
    """Weights and vocabulary.

    Args:
        path: The GGUF file, which is mapped.

    Attributes:
        pointer: llama.cpp's model.
        vocabulary_pointer: llama.cpp's vocabulary.
        sliding_window: How many tokens back some layers look at most; 0 when all look at all.
        unshareable: Why sequences of this model cannot share a prefix; None when they can.

    Raises:
        LoadRefusedError: The message says why.
    """

    def __init__(self, path: Path) -> None:
        self._log = _Log()
        lib.llama_backend_init()
        self.pointer = self._model = self._load(path)
        vocab = lib.llama_model_get_vocab(self._model)
        if vocab is None or lib.llama_vocab_type(vocab) == lib.LLAMA_VOCAB_TYPE_NONE:
            raise LoadRefusedError("the file holds no vocabulary: it cannot generate text")
        self.vocabulary_pointer = self._vocab = vocab
        self._refuse_other_kinds()
        self.vocabulary = int(lib.llama_vocab_n_tokens(vocab))
        self.train_context_tokens = int(lib.llama_model_n_ctx_train(self._model))
        self.sliding_window = int(lib.llama_model_n_swa(self._model))
        self.unshareable = self._why_unshareable()
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _load(self, path: Path) -> lib.llama_model_p:
        params = lib.llama_model_default_params()
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
        params.n_gpu_layers = 0
        model: lib.llama_model_p | None = lib.llama_model_load_from_file(bytes(path), params)
        if not model:
            raise LoadRefusedError(f"llama.cpp cannot load it: {self.why()}")
        return model

    def _refuse_other_kinds(self) -> None:
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            raise LoadRefusedError("it has an encoder or no decoder: only decoder models can be served")
        if lib.llama_model_is_diffusion(self._model):
            raise LoadRefusedError(
                "it is a diffusion model: only models that go token by token can be served"
            )

    def _why_unshareable(self) -> str | None:
        if lib.llama_model_is_recurrent(self._model):
            return "it is recurrent: its state holds the whole sequence and cannot be cut back to a prefix"
        if lib.llama_model_is_hybrid(self._model):
            return "it is recurrent in part: its state holds the whole sequence and cannot be cut back"
        return None

    def why(self) -> str:
        """llama.cpp's last warnings, for the error of what it refused."""
        return " / ".join(self._log.last) or "it gave no reason"

    @property
    def description(self) -> str:
        """llama.cpp's own short description, such as ``llama 135M Q4_1``."""
        buffer = ctypes.create_string_buffer(MAX_META_BYTES)
        lib.llama_model_desc(self._model, buffer, MAX_META_BYTES)
        return buffer.value.decode(errors="replace")

    @property
    def architecture(self) -> str:
        """``general.architecture`` of the file."""
        return self.metadata("general.architecture")

    def metadata(self, key: str) -> str:
        """A short value of the file's header as text; "" when there is none."""
        buffer = ctypes.create_string_buffer(MAX_META_BYTES)
        found = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, MAX_META_BYTES)
        return buffer.value.decode(errors="replace") if found > 0 else ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(lib.llama_model_n_params(self._model))

    @property
    def model_bytes(self) -> int:
        """Size of all tensors, in bytes."""
        return int(lib.llama_model_size(self._model))

    @property
    def chat_template(self) -> str | None:
        """The template's source, None when the file has none."""
        source = lib.llama_model_chat_template(self._model, None)
        return source.decode(errors="replace") if source else None

    @property
    def bos_text(self) -> str:
        """Text of the begin-of-sequence token; "" when the model has none."""
        return self._token_text(lib.llama_vocab_bos(self._vocab))

    @property
    def eos_text(self) -> str:
        """Text of the end-of-sequence token; "" when the model has none."""
        return self._token_text(lib.llama_vocab_eos(self._vocab))

    def _token_text(self, token: int) -> str:
        # An id outside the vocabulary ends the process with a C++ exception.
        if not 0 <= token < self.vocabulary:
            return ""
        text = lib.llama_vocab_get_text(self._vocab, token)
        return text.decode(errors="replace") if text else ""

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """The tokens of a text; names of special tokens in it count as such.

        Args:
            text: At most 2 GiB of UTF-8.
            add_special: Let the model add its begin-of-sequence token, if it is made for that.
        """
        raw = text.encode()
        room = len(raw) + 8
        for _ in range(2):
            tokens = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocab, raw, len(raw), tokens, room, add_special, True)
            if count >= 0:
                return tokens[:count]
            room = -count
        raise RuntimeError("llama.cpp cannot tokenize the prompt")

    def piece(self, token: int) -> bytes:
        """The bytes of one token; none for control tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            if len(self._pieces) >= MAX_PIECES:
                self._pieces = {}
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def _read_piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(MAX_PIECE_BYTES)
        length = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def is_end(self, token: int) -> bool:
        """Whether this token ends a generation."""
        ends = self._ends.get(token)  # asked for every token of every answer
        if ends is None:
            ends = self._ends[token] = bool(lib.llama_vocab_is_eog(self._vocab, token))
        return ends

    @functools.cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """All tokens that end a generation."""
        tokens = range(self.vocabulary)
        return tuple(token for token in tokens if lib.llama_vocab_is_eog(self._vocab, token))

    def check_tokens(self, request: GenerateRequest) -> None:
        """Refuse token ids that the model does not have: llama.cpp would fail on the whole batch.

        Raises:
            InvalidRequestError: With the first such id.
        """
        biased = (token for token, _ in request.sampling.logit_bias)
        for token in (*(request.prompt_tokens or ()), *biased):
            if token >= self.vocabulary:
                raise InvalidRequestError(
                    f"token {token} does not exist: this model has {self.vocabulary} tokens, from 0"
                )
