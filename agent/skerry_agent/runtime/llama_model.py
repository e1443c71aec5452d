"""One loaded model on llama.cpp's C API, with guards where the library would abort the process.

Imports llama_cpp, so this belongs to the runner process only. Not safe for use by two threads.
"""

import ctypes
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.requests import Sampling

# Below this the division of the logits overflows to infinity; the choice is the greedy one anyway.
GREEDY_BELOW_TEMPERATURE = 1e-3
RANDOM_SEED = 0xFFFFFFFF
LOG_LEVEL_WARN = 3
LOG_LEVEL_CONTINUES = 5
NO_TOKEN = -1
MAX_PIECE_BYTES = 256
MAX_META_BYTES = 256


class LoadRefusedError(Exception):
    """llama.cpp did not take the file, or it is no model that can generate text."""


class DecodeFailedError(Exception):
    """``llama_decode`` failed; the memory of the context has to be cleared."""


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
    """Weights, vocabulary and one context of one sequence.

    Args:
        path: The GGUF file, which is mapped.
        context_tokens: Wanted size of the context; bounded by what the model was trained on.
        threads: Threads for prompt and decode.
        batch_tokens: The most tokens of one ``decode``.

    Raises:
        LoadRefusedError: The message says why.
    """

    def __init__(self, path: Path, *, context_tokens: int, threads: int, batch_tokens: int) -> None:
        self._log = _Log()
        lib.llama_backend_init()
        self._model = self._load(path)
        vocab = lib.llama_model_get_vocab(self._model)
        if vocab is None or lib.llama_vocab_type(vocab) == lib.LLAMA_VOCAB_TYPE_NONE:
            raise LoadRefusedError("the file holds no vocabulary: it cannot generate text")
        self._vocab = vocab
        self._refuse_other_kinds()
        self.vocabulary = int(lib.llama_vocab_n_tokens(vocab))
        self.train_context_tokens = int(lib.llama_model_n_ctx_train(self._model))
        self.context_tokens = min(context_tokens, self.train_context_tokens or context_tokens)
        self._context = self._new_context(threads, min(batch_tokens, self.context_tokens))
        self._memory = lib.llama_get_memory(self._context)
        self.batch_tokens = min(batch_tokens, self.context_tokens, int(lib.llama_n_batch(self._context)))
        self._batch = lib.llama_batch_init(self.batch_tokens, 0, 1)
        for i in range(self.batch_tokens):
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = 0
        self._has_logits = False
        self._piece = ctypes.create_string_buffer(MAX_PIECE_BYTES)

    def _load(self, path: Path) -> lib.llama_model_p:
        params = lib.llama_model_default_params()
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
        params.n_gpu_layers = 0
        model: lib.llama_model_p | None = lib.llama_model_load_from_file(bytes(path), params)
        if not model:
            raise LoadRefusedError(f"llama.cpp cannot load it: {self._why()}")
        return model

    def _refuse_other_kinds(self) -> None:
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            raise LoadRefusedError("it has an encoder or no decoder: only decoder models can be served")
        if lib.llama_model_is_diffusion(self._model):
            raise LoadRefusedError(
                "it is a diffusion model: only models that go token by token can be served"
            )

    def _new_context(self, threads: int, batch_tokens: int) -> lib.llama_context_p:
        params = lib.llama_context_default_params()
        params.n_ctx = self.context_tokens
        params.n_batch = batch_tokens
        params.n_ubatch = batch_tokens
        params.n_seq_max = 1
        params.n_threads = threads
        params.n_threads_batch = threads
        context: lib.llama_context_p | None = lib.llama_init_from_model(self._model, params)
        if not context:
            raise LoadRefusedError(f"no context of {self.context_tokens} tokens: {self._why()}")
        if lib.llama_n_ctx(context) < self.context_tokens:
            raise LoadRefusedError(f"llama.cpp gave a context of {lib.llama_n_ctx(context)} tokens only")
        return context

    def _why(self) -> str:
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
        buffer = ctypes.create_string_buffer(MAX_META_BYTES)
        found = lib.llama_model_meta_val_str(self._model, b"general.architecture", buffer, MAX_META_BYTES)
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
        raise DecodeFailedError("llama.cpp cannot tokenize the prompt")

    def piece(self, token: int) -> bytes:
        """The bytes of one token; none for control tokens."""
        length = lib.llama_token_to_piece(self._vocab, token, self._piece, len(self._piece), 0, False)
        if length < 0:
            self._piece = ctypes.create_string_buffer(-length)
            length = lib.llama_token_to_piece(self._vocab, token, self._piece, len(self._piece), 0, False)
        return self._piece.raw[: max(length, 0)]

    def is_end(self, token: int) -> bool:
        """Whether this token ends a generation."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def set_threads(self, threads: int) -> None:
        """Use another number of threads from the next ``decode`` on."""
        lib.llama_set_n_threads(self._context, threads, threads)

    def forget(self) -> None:
        """Clear the context for another sequence."""
        self._has_logits = False
        if self._memory is not None:
            lib.llama_memory_clear(self._memory, False)

    def decode(self, tokens: Sequence[int], position: int, *, want_logits: bool) -> None:
        """Compute tokens at ``position`` and after; with logits for the last one if wanted.

        Raises:
            DecodeFailedError: llama.cpp could not.
        """
        count = len(tokens)
        # llama.cpp aborts the process on each of these.
        if not 0 < count <= self.batch_tokens or not 0 <= position <= self.context_tokens - count:
            raise ValueError(f"{count} tokens at {position} do not fit into batch or context")
        batch = self._batch
        batch.n_tokens = count
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.logits[i] = 0
        batch.logits[count - 1] = 1 if want_logits else 0
        self._has_logits = False
        code = lib.llama_decode(self._context, batch)
        if code != 0:
            raise DecodeFailedError(f"llama_decode failed with code {code}")
        self._has_logits = want_logits

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> "Sampler":
        """A sampler for one request; the penalties see the prompt's tokens as well."""
        return Sampler(self, sampling, prompt)

    def sample(self, chain: "lib.llama_sampler_p") -> int:
        """Choose the token that follows the last decoded one."""
        if not self._has_logits:
            raise RuntimeError("sampling needs logits")  # llama.cpp would abort
        return int(lib.llama_sampler_sample(chain, self._context, -1))


class Sampler:
    """A chain of llama.cpp samplers in its usual order; ``close`` frees it.

    Args:
        model: Whose logits it looks at.
        sampling: Values that ``validate_request`` has let through.
        prompt: The prompt's tokens.
    """

    def __init__(self, model: LlamaModel, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._model = model
        self._chain: lib.llama_sampler_p | None = lib.llama_sampler_chain_init(
            lib.llama_sampler_chain_default_params()
        )
        penalised = sampling.repeat_window > 0 and (
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        ) != (1.0, 0.0, 0.0)
        if penalised:
            self._add(
                lib.llama_sampler_init_penalties(
                    model.vocabulary,
                    sampling.repeat_window,
                    sampling.repeat_penalty,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )
        if sampling.temperature < GREEDY_BELOW_TEMPERATURE:
            self._add(lib.llama_sampler_init_greedy())
        else:
            self._add_filters(sampling)
            self._add(lib.llama_sampler_init_temp(sampling.temperature))
            seed = RANDOM_SEED if sampling.seed is None else sampling.seed
            self._add(lib.llama_sampler_init_dist(seed))
        if penalised:
            for token in prompt[-sampling.repeat_window :]:
                lib.llama_sampler_accept(self._chain, token)

    def _add_filters(self, sampling: Sampling) -> None:
        if sampling.top_k > 0:
            self._add(lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1.0:
            self._add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0.0:
            self._add(lib.llama_sampler_init_min_p(sampling.min_p, 1))

    def _add(self, sampler: "lib.llama_sampler_p | None") -> None:
        if not sampler or not self._chain:
            raise MemoryError("llama.cpp could not make a sampler")
        lib.llama_sampler_chain_add(self._chain, sampler)

    def next(self) -> int:
        """The token that follows the last decoded one."""
        if not self._chain:
            raise RuntimeError("the sampler is closed")  # llama.cpp would read address 0
        return self._model.sample(self._chain)

    def close(self) -> None:
        """Free the chain with its samplers; again is fine."""
        chain, self._chain = self._chain, None
        if chain:
            lib.llama_sampler_free(chain)
