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
_BYTE_TOKENS: Final = tuple(f"<0x{byte:02X}>".encode() for byte in range(256))


def check_vocabulary(header: GgufHeader, buffer: Buffer) -> None:
    """Check the tokenizer in ``buffer``, which must hold at least the header.

    Reads each token once: about 0.1 s for Gemma's 262,144.

    Raises:
        ModelFileError: llama.cpp would abort on this tokenizer, or could not turn text into tokens.
    """
    model = header.metadata.get(MODEL_KEY)
    if not isinstance(model, str) or model in _NO_TOKENIZER:
        raise ModelFileError("the GGUF file has no tokenizer: convert the model again, with its vocabulary")
    count = _token_count(header)
    _check_lengths(header, count)
    seen: set[bytes] = set()
    for index, stored in enumerate(_tokens(header, buffer)):
        # llama.cpp takes a token for a C string: it ends at the first zero.
        token = stored.partition(b"\0")[0] if b"\0" in stored else stored
        if token and token in seen:
            raise ModelFileError(
                f"the GGUF vocabulary has token {token!r} twice (again at {index}): llama.cpp would abort on "
                "it; convert the model again"
            )
        seen.add(token)
    if model == SENTENCEPIECE:
        missing = [token for token in _BYTE_TOKENS if token not in seen]
        if missing:
            raise ModelFileError(
                f"the GGUF vocabulary lacks {len(missing)} of 256 byte tokens, as {missing[0].decode()}: "
                "llama.cpp would abort on text that needs them; convert the model again"
            )


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
    tokens = header.metadata[TOKENS_KEY]
    if isinstance(tokens, ArraySpan):
        return iterate_strings(buffer, tokens)
    return (str(token).encode() for token in tokens) if isinstance(tokens, tuple) else iter(())
