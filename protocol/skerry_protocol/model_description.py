"""Describes a model from its GGUF header: what a manifest, a fit check and a person want to know."""

from typing import Final, Literal

import msgspec

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import ArraySpan, GgufHeader
from skerry_protocol.gguf_types import FILE_TYPES

ParameterClass = Literal["below", "micro", "small", "medium", "above"]

MICRO_FROM: Final = 100_000_000
SMALL_FROM: Final = 1_450_000_000
MEDIUM_FROM: Final = 13_950_000_000
ABOVE_FROM: Final = 31_000_000_000
"""Classes in parameters: micro 100M-1.4B, small 1.5B-13.9B, medium 14B-30B (a "30B" model may have 30.5B)."""

KV_ELEMENT_BYTES: Final = 2
"""The KV cache holds F16."""
FLOAT_BYTES: Final = 4
RUNNER_BYTES: Final = 50 * 1024 * 1024
"""A runner before it has a model: Python, NumPy, llama.cpp, its threads."""
BPE_TOKEN_BYTES: Final = 400
"""llama.cpp's tables for a token of a byte-level BPE vocabulary, its merge included."""
TOKEN_BYTES: Final = 230
"""The same for other vocabularies."""
LOGIT_BYTES: Final = 20
"""A logit (4) and its place in the sampler's candidates (12), with a copy."""
MASK_BYTES: Final = 6
"""The attention mask of a token and a cell, as F32 and as F16."""
DEFAULT_CONTEXT_TOKENS: Final = 2048
DEFAULT_BATCH_TOKENS: Final = 256
DEFAULT_SEQUENCES: Final = 41
"""Of a runner with its usual options: requests at once, kept prefixes, and one to save these from."""
DEFAULT_CACHE_CONTEXTS: Final = 2
"""Its cache holds so many contexts."""
MAX_VECTOR_STEP_TOKENS: Final = 64
VECTOR_LOGIT_BYTES: Final = 16 * 1024 * 1024
"""llama.cpp computes logits where vectors are wanted; a step for those has so many bytes of them at most."""
MIN_VECTOR_STEP_TOKENS: Final = 8

_MIB: Final = 1024 * 1024


def vector_step_tokens(vocabulary_size: int) -> int:
    """How many tokens a runner computes in one step of a text for vectors."""
    fitting = VECTOR_LOGIT_BYTES // (FLOAT_BYTES * max(1, vocabulary_size))
    return min(MAX_VECTOR_STEP_TOKENS, max(MIN_VECTOR_STEP_TOKENS, fitting))


class MemoryNeed(msgspec.Struct, frozen=True):
    """What a runner is predicted to hold, in bytes."""

    weights_bytes: int
    cache_bytes: int
    """The KV cache."""
    compute_bytes: int
    """Buffers of one step: touched bit by bit, as prompts get longer."""
    process_bytes: int
    """The process itself, with the tables of the vocabulary."""
    vectors_bytes: int = 0
    """A second context, which is there while texts are made into vectors."""
    parked_bytes: int = 0
    """Copies of cells of prefixes that nobody uses at the moment."""
    draft_bytes: int = 0
    """A second model that guesses tokens, with its cache."""

    @property
    def loaded_bytes(self) -> int:
        """What it holds before the first request."""
        return self.weights_bytes + self.cache_bytes + self.process_bytes + self.draft_bytes

    @property
    def later_bytes(self) -> int:
        """What requests add to that."""
        return self.compute_bytes + self.vectors_bytes + self.parked_bytes

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.loaded_bytes + self.later_bytes

    def __str__(self) -> str:
        """``402 MiB (weights 241, KV cache 48, compute 60, process 53)``."""
        parts = (
            ("weights", self.weights_bytes),
            ("KV cache", self.cache_bytes),
            ("compute", self.compute_bytes),
            ("process", self.process_bytes),
            ("vectors", self.vectors_bytes),
            ("parked", self.parked_bytes),
            ("draft model", self.draft_bytes),
        )
        shown = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in parts if size)
        return f"{self.total_bytes / _MIB:.0f} MiB ({shown})"


class ModelDescription(msgspec.Struct, frozen=True):
    """What a model is and what it needs. Sizes are bytes, lengths are tokens or elements."""

    architecture: str
    name: str | None
    licence: str | None
    """``general.license`` as it stands in the file, often an SPDX id in lower case."""
    parameters: int
    """Number of elements of all tensors, embeddings included."""
    parameter_class: ParameterClass
    quantization: str
    """What ``general.file_type`` names (such as "Q4_K_M"); without it, ``dominant_tensor_type``."""
    dominant_tensor_type: str
    """The tensor type that holds most of the bytes. It may differ from what ``quantization`` says."""
    tensor_bytes: dict[str, int]
    """Bytes by tensor type, the largest first."""
    weights_bytes: int
    context_length: int
    """Longest context that the model was trained for, in tokens."""
    embedding_length: int
    feed_forward_length: int
    """The widest of all blocks; 0 if not stated."""
    block_count: int
    head_count: int
    """Attention heads of the block that has most; 0 without attention."""
    tokenizer: str
    """``tokenizer.ggml.model``: "gpt2" is byte-level BPE, "llama" is SentencePiece."""
    vocabulary_size: int
    has_chat_template: bool
    kv_bytes_per_token: int
    """KV cache at F16 per token of context, all blocks. An upper bound for models with sliding windows."""

    def to_manifest(self) -> dict[str, str | int | float | bool | None]:
        """The fields as the ``description`` of a manifest: flat, ``tensor_bytes`` as "Q4_1=…, Q8_0=…"."""
        fields = msgspec.structs.asdict(self)
        fields["tensor_bytes"] = ", ".join(f"{kind}={size}" for kind, size in self.tensor_bytes.items())
        return fields

    def memory_need(
        self,
        *,
        cache_tokens: int,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        sequences: int = DEFAULT_SEQUENCES,
        vectors_tokens: int = 0,
        parked_tokens: int = 0,
    ) -> MemoryNeed:
        """Resident bytes of a runner, by purpose: on the CPU, weights mapped, with flash attention.

        The constants were fitted to SmolLM2-135M Q4_1 and Gemma 3 270M Q4_K_M with caches of 1,024, 4,096
        and 8,192 tokens (without vectors 201, 269, 359 and 414, 471, 545 MiB were measured after use; the
        estimates are within 2 %).

        Args:
            cache_tokens: Size of the KV cache in tokens, over all sequences.
            batch_tokens: Tokens that one step computes at most.
            sequences: Sequences that the cache knows; llama.cpp keeps a row of logits for each.
            vectors_tokens: The longest text of which vectors are made, in tokens; 0 for none.
            parked_tokens: Tokens of prefixes that lie outside the cache, at most.
        """
        batch = min(batch_tokens, cache_tokens)
        token_bytes = BPE_TOKEN_BYTES if self.tokenizer == "gpt2" else TOKEN_BYTES
        logit_bytes = LOGIT_BYTES + FLOAT_BYTES * (sequences - 1)
        activations = 2 * (self.embedding_length + self.feed_forward_length)
        step = min(vector_step_tokens(self.vocabulary_size), vectors_tokens)
        vectors_token_bytes = FLOAT_BYTES * (2 * self.vocabulary_size + activations)
        return MemoryNeed(
            weights_bytes=self.weights_bytes,
            cache_bytes=self.kv_bytes_per_token * cache_tokens,
            compute_bytes=batch * (FLOAT_BYTES * activations + MASK_BYTES * cache_tokens),
            process_bytes=RUNNER_BYTES + self.vocabulary_size * (token_bytes + logit_bytes),
            vectors_bytes=self.kv_bytes_per_token * vectors_tokens
            + step * (vectors_token_bytes + MASK_BYTES * vectors_tokens),
            parked_bytes=self.kv_bytes_per_token * parked_tokens,
        )

    def estimate_memory_bytes(self, *, context_tokens: int, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> int:
        """All of :meth:`memory_need` for a runner with its usual options and a context of so many tokens."""
        need = self.memory_need(
            cache_tokens=context_tokens * DEFAULT_CACHE_CONTEXTS,
            batch_tokens=batch_tokens,
            vectors_tokens=context_tokens,
            parked_tokens=context_tokens // 2,
        )
        return need.total_bytes


def describe_model(header: GgufHeader) -> ModelDescription:
    """Describe the model of ``header``.

    Raises:
        ModelFileError: The header lacks what a model must have. Call ``check_model_header`` first: it says
        what.
    """
    architecture = _text(header, "general.architecture")
    if not architecture or not header.tensors:
        raise ModelFileError("the GGUF file is no model: it has no architecture or no tensors")
    tensor_bytes = _tensor_bytes(header)
    dominant = next(iter(tensor_bytes))
    parameters = sum(tensor.elements for tensor in header.tensors)
    file_type = header.metadata.get("general.file_type")
    prefix = architecture + "."
    return ModelDescription(
        architecture=architecture,
        name=_text(header, "general.name"),
        licence=_text(header, "general.license"),
        parameters=parameters,
        parameter_class=parameter_class(parameters),
        quantization=FILE_TYPES.get(file_type, dominant) if isinstance(file_type, int) else dominant,
        dominant_tensor_type=dominant,
        tensor_bytes=tensor_bytes,
        weights_bytes=sum(tensor_bytes.values()),
        context_length=_number(header, prefix + "context_length"),
        embedding_length=_number(header, prefix + "embedding_length"),
        feed_forward_length=max(_numbers(header, prefix + "feed_forward_length"), default=0),
        block_count=_number(header, prefix + "block_count"),
        head_count=max(_numbers(header, prefix + "attention.head_count"), default=0),
        tokenizer=_text(header, "tokenizer.ggml.model") or "none",
        vocabulary_size=_vocabulary_size(header),
        has_chat_template=bool(_text(header, "tokenizer.chat_template")),
        kv_bytes_per_token=_kv_bytes_per_token(header, prefix),
    )


def parameter_class(parameters: int) -> ParameterClass:
    """The class of a model with so many parameters."""
    if parameters < MICRO_FROM:
        return "below"
    if parameters < SMALL_FROM:
        return "micro"
    if parameters < MEDIUM_FROM:
        return "small"
    return "medium" if parameters < ABOVE_FROM else "above"


def _tensor_bytes(header: GgufHeader) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for tensor in header.tensors:
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.length
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _kv_bytes_per_token(header: GgufHeader, prefix: str) -> int:
    blocks = _number(header, prefix + "block_count")
    heads = _numbers(header, prefix + "attention.head_count")
    kv_heads = _numbers(header, prefix + "attention.head_count_kv") or heads
    if not kv_heads:
        return 0
    head_length = _number(header, prefix + "embedding_length") // max(*heads, 1)
    key = _number(header, prefix + "attention.key_length", head_length)
    value = _number(header, prefix + "attention.value_length", head_length)
    all_heads = kv_heads[0] * blocks if len(kv_heads) == 1 else sum(kv_heads)
    return all_heads * (key + value) * KV_ELEMENT_BYTES


def _vocabulary_size(header: GgufHeader) -> int:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, ArraySpan):
        return tokens.count
    return len(tokens) if isinstance(tokens, tuple) else 0


def _text(header: GgufHeader, key: str) -> str | None:
    value = header.metadata.get(key)
    return value if isinstance(value, str) and value else None


def _numbers(header: GgufHeader, key: str) -> tuple[int, ...]:
    """The numbers of a key that holds one for all blocks, or one for each."""
    value = header.metadata.get(key)
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _number(header: GgufHeader, key: str, default: int = 0) -> int:
    return next(iter(_numbers(header, key)), default)
