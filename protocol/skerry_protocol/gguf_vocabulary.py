"""Checks the tokenizer of a model for what makes llama.cpp abort."""

from collections.abc import Iterator
from typing import Final

from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import ArraySpan, Buffer, GgufHeader, iterate_strings
from skerry_protocol.gguf_types import ValueType

TOKENS_KEY: Final = "tokenizer.ggml.tokens"
MODEL_KEY: Final = "tokenizer.ggml.model"
SENTENCEPIECE: Final = "llama"
"""What GGUF calls a SentencePiece tokenizer, whatever the architecture."""

_NO_TOKENIZER: Final = frozenset({"none", "no_vocab"})
_BYTE_TOKENS: Final = frozenset(f"<0x{byte:02X}>".encode() for byte in range(256))


def check_vocabulary(header: GgufHeader, buffer: Buffer) -> None:
    """Check the tokenizer in ``buffer``, which must hold at least the header.

    Takes about 0.3 s and 6 MB for Gemma's 262,144 tokens.

    Raises:
        ModelFileError: llama.cpp would abort on this tokenizer, or could not turn text into tokens.
    """
    model = header.metadata.get(MODEL_KEY)
    if not isinstance(model, str) or model in _NO_TOKENIZER:
        raise ModelFileError("the GGUF file has no tokenizer: convert the model again, with its vocabulary")
    count = _token_count(header)
    _check_lengths(header, count)
    repeated = _first_repeated(header, buffer, count)
    if repeated is not None:
        raise ModelFileError(
            f"the GGUF vocabulary has token {repeated!r} twice: llama.cpp would abort on it; "
            "convert the model again"
        )
    if model == SENTENCEPIECE:
        missing = sorted(_BYTE_TOKENS.difference(_tokens(header, buffer)))
        if missing:
            raise ModelFileError(
                f"the GGUF vocabulary lacks {len(missing)} of 256 byte tokens, as {missing[0].decode()}: "
                "llama.cpp would abort on text that needs them; convert the model again"
            )


def _first_repeated(header: GgufHeader, buffer: Buffer, count: int) -> bytes | None:
    """A token that is there twice; empty ones do not count, as llama.cpp names them apart.

    A set of Gemma's tokens would take 30 MB, too much for a small device. So the first pass only marks slots
    of a table by hash, and the second remembers the few tokens that shared a slot.
    """
    mask = (1 << (count * 8).bit_length()) - 1
    taken = bytearray(mask + 1)
    shared: set[int] = set()
    for token in _tokens(header, buffer):
        slot = hash(token) & mask
        if taken[slot]:
            shared.add(slot)
        taken[slot] = 1
    seen: set[bytes] = set()
    for token in _tokens(header, buffer):
        if hash(token) & mask in shared and token:
            if token in seen:
                return token
            seen.add(token)
    return None


def _token_count(header: GgufHeader) -> int:
    tokens = header.metadata.get(TOKENS_KEY)
    if isinstance(tokens, ArraySpan) and tokens.element_type is ValueType.STRING:
        return tokens.count
    if isinstance(tokens, tuple) and tokens and isinstance(tokens[0], str):
        return len(tokens)
    raise ModelFileError(f"the GGUF file has no list of tokens in {TOKENS_KEY}: convert the model again")


def _check_lengths(header: GgufHeader, count: int) -> None:
    """Check the arrays that run beside the tokens: llama.cpp reads ``count`` elements of each."""
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        beside = header.metadata.get(key)
        if isinstance(beside, ArraySpan):
            length = beside.count
        else:
            length = len(beside) if isinstance(beside, tuple) else count
        if length != count:
            raise ModelFileError(
                f"the GGUF vocabulary has {count} tokens but {length} values in {key}: convert the model "
                "again"
            )


def _tokens(header: GgufHeader, buffer: Buffer) -> Iterator[bytes]:
    """The tokens as llama.cpp sees them: C strings, which end at the first zero."""
    tokens = header.metadata[TOKENS_KEY]
    if isinstance(tokens, ArraySpan):
        stored = iterate_strings(buffer, tokens)
    else:
        stored = (str(token).encode() for token in tokens) if isinstance(tokens, tuple) else iter(())
    for token in stored:
        yield token.partition(b"\0")[0] if b"\0" in token else token
