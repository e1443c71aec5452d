"""A model of less than 1 MB that llama.cpp loads in milliseconds: random weights, real tokenizer.

The architecture is llama. The tokenizer is byte-level BPE (GPT-2): any text can be encoded and comes back
unchanged. The weights are random, but the output layer leans towards printable pieces (see ``_leanings``), so
that what the model "says" is valid UTF-8. Equal arguments give equal bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

type_ = gguf.GGUFValueType

CHATML: Final = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SPECIAL_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BOS_TOKEN: Final = SPECIAL_TOKENS[1]
EOS_TOKEN: Final = SPECIAL_TOKENS[2]

_WORDS: Final = """
the of and to in is that it was for on are as with his they at be this from have or by one had not but what
all were when we there can an your which their said if do will each about how up out them then she many some
so these would other into has more her two like him see time could no make than first been its who now
people my made over did down only way find use may water long little very after words called just where most
know get through back much go good new write our me man too any day same right look think also around
another came come work three must because does part even place well such here take why help put different
away again off went old number great tell men say small every found still between name should home big give
air line set own under read last never us left end along while might next sound below saw something thought
both few those always show large often together asked house world going want school important until form
food keep children feet land side without boy once animal life enough took four head above kind began almost
live page got earth need far hand high year mother light country father let night picture being study second
soon story since white ever paper hard near sentence better best across during today however sure knew try
user assistant system model device answer question hello island rock sea
""".split()  # noqa: SIM905 - two hundred quoted words would be harder to read

Quantization: TypeAlias = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]
MetadataValue: TypeAlias = str | int | float | bool | list[str] | list[int] | list[float]
Matrix: TypeAlias = NDArray[np.float32]


def write_tiny_gguf(
    path: Path | str,
    *,
    chat_template: bool | str = True,
    seed: int = 0,
    context: int = 256,
    name: str = "tiny",
    licence: str | None = "apache-2.0",
    quantization: Quantization = "F16",
    blocks: int = 4,
    embedding: int = 64,
    vocabulary_extra: int = 0,
    eos_lean: float = -1.0,
    overrides: Mapping[str, MetadataValue | None] | None = None,
) -> Path:
    """Write the model to ``path`` and return the path.

    Args:
        path: Where to write; its folder must exist.
        chat_template: True for ChatML, False for none (a base model), or the Jinja template itself.
        seed: Seed of the random weights. Another seed is another model of equal shape and size.
        context: Trained context length in tokens.
        name: ``general.name``.
        licence: ``general.license``, or None to leave it out.
        quantization: Type of the matrices; the norms stay F32.
        blocks: Number of transformer blocks (about 0.1 MB each as F16).
        embedding: Width of the model, a multiple of 64.
        vocabulary_extra: So many further tokens that no text produces, to make a big vocabulary.
        eos_lean: Logits by which the end of the answer leans up or down: at -1 the model hardly ever ends by
            itself, at 10 soon, at 30 at once.
        overrides: Metadata values to replace (the key keeps its type), or None to leave the key out. A key
            that the model does not have yet is added, its type guessed from the value.
    """
    path = Path(path)
    tokens, kinds, merges = _vocabulary(vocabulary_extra)
    metadata = _metadata(
        tokens=tokens, kinds=kinds, merges=merges, context=context, blocks=blocks, embedding=embedding
    )
    metadata["general.name"] = (name, type_.STRING)
    metadata["general.file_type"] = (_file_type(quantization), type_.UINT32)
    if licence is not None:
        metadata["general.license"] = (licence, type_.STRING)
    if chat_template:
        template = CHATML if chat_template is True else chat_template
        metadata["tokenizer.chat_template"] = (template, type_.STRING)
    for key, value in (overrides or {}).items():
        if value is None:
            metadata.pop(key, None)
        else:
            kind = metadata[key][1] if key in metadata else _guessed_type(value)
            kind = type_.ARRAY if isinstance(value, list) else kind
            metadata[key] = (value, kind)

    writer = gguf.GGUFWriter(path, "llama")
    # The writer adds the architecture by itself; ours may be overridden.
    writer.kv_data[0].clear()
    for key, (value, kind) in metadata.items():
        writer.add_key_value(key, value, kind)
    leanings = _leanings(tokens, kinds, eos_lean)
    for tensor, matrix in _weights(seed, leanings, blocks=blocks, embedding=embedding).items():
        _add_tensor(writer, tensor, matrix, quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _guessed_type(value: MetadataValue) -> gguf.GGUFValueType:
    unsigned = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return type_.UINT32 if unsigned else type_.get_type(value)


def _file_type(quantization: Quantization) -> int:
    kind = gguf.LlamaFileType
    return int(kind.ALL_F32 if quantization == "F32" else kind[f"MOSTLY_{quantization}"])


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    characters = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in characters]
    characters.update({byte: chr(256 + index) for index, byte in enumerate(hidden)})
    return [characters[byte] for byte in range(256)]


def _vocabulary(extra: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens, their kinds, and merges: 256 bytes, some hundred words built letter by letter, special ones."""
    space = _byte_characters()[ord(" ")]
    tokens = dict.fromkeys(_byte_characters())
    merges: dict[str, None] = {}
    for word in _WORDS:
        # Only with the space before it: so no merge competes with another, and every word becomes one token.
        spelling = space + word
        for end in range(1, len(spelling)):
            merges[f"{spelling[:end]} {spelling[end]}"] = None
            tokens[spelling[: end + 1]] = None
    normal = [*tokens, *(f"<extra_{index:07d}>" for index in range(extra))]
    kinds = [int(gguf.TokenType.NORMAL)] * len(normal) + [int(gguf.TokenType.CONTROL)] * len(SPECIAL_TOKENS)
    return [*normal, *SPECIAL_TOKENS], kinds, list(merges)


def _metadata(
    *, tokens: list[str], kinds: list[int], merges: list[str], context: int, blocks: int, embedding: int
) -> dict[str, tuple[Any, gguf.GGUFValueType]]:
    heads = embedding // 32
    return {
        "general.architecture": ("llama", type_.STRING),
        "general.type": ("model", type_.STRING),
        "general.quantization_version": (2, type_.UINT32),
        "llama.block_count": (blocks, type_.UINT32),
        "llama.context_length": (context, type_.UINT32),
        "llama.embedding_length": (embedding, type_.UINT32),
        "llama.feed_forward_length": (embedding * 2, type_.UINT32),
        "llama.attention.head_count": (heads, type_.UINT32),
        "llama.attention.head_count_kv": (heads // 2, type_.UINT32),
        "llama.rope.dimension_count": (32, type_.UINT32),
        "llama.rope.freq_base": (10000.0, type_.FLOAT32),
        "llama.attention.layer_norm_rms_epsilon": (1e-5, type_.FLOAT32),
        "llama.vocab_size": (len(tokens), type_.UINT32),
        "tokenizer.ggml.model": ("gpt2", type_.STRING),
        "tokenizer.ggml.pre": ("gpt-2", type_.STRING),
        "tokenizer.ggml.tokens": (tokens, type_.ARRAY),
        "tokenizer.ggml.token_type": (kinds, type_.ARRAY),
        "tokenizer.ggml.merges": (merges, type_.ARRAY),
        "tokenizer.ggml.bos_token_id": (tokens.index(BOS_TOKEN), type_.UINT32),
        "tokenizer.ggml.eos_token_id": (tokens.index(EOS_TOKEN), type_.UINT32),
        "tokenizer.ggml.padding_token_id": (tokens.index("<|endoftext|>"), type_.UINT32),
        "tokenizer.ggml.add_bos_token": (False, type_.BOOL),
    }


def _leanings(tokens: list[str], kinds: list[int], eos_lean: float) -> Matrix:
    """For each token, how far its logit leans up or down, whatever came before.

    Words lean up; bytes that may break UTF-8, control characters and special tokens far down.
    """
    printable = {chr(code) for code in range(ord("!"), ord("~") + 1)} | {_byte_characters()[ord(" ")]}
    leanings = np.full(len(tokens), -12.0, dtype=np.float32)
    for index, token in enumerate(tokens):
        if kinds[index] == int(gguf.TokenType.NORMAL) and not token.startswith("<extra_"):
            if set(token) <= printable:
                leanings[index] = 2.0 if len(token) > 1 else -2.0
        elif token == EOS_TOKEN:
            leanings[index] = eos_lean
    return leanings


def _weights(seed: int, leanings: Matrix, *, blocks: int, embedding: int) -> dict[str, Matrix]:
    """All tensors by name, as F32.

    Column 0 of the embeddings is one constant that the blocks hardly touch, so that after the last norm it is
    a positive number of known size, and column 0 of the output layer becomes a bias.
    """
    random = np.random.default_rng(seed)
    vocabulary, wide, kv = len(leanings), embedding * 2, embedding // 2

    def matrix(rows: int, columns: int, scale: float) -> Matrix:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    constant = 8.0
    embeddings = matrix(vocabulary, embedding, 1.0)
    embeddings[:, 0] = constant
    output = matrix(vocabulary, embedding, 2.0 / embedding**0.5)
    # Root of the mean square of a row: unit variables and the constant (the blocks add some: close enough).
    norm = ((embedding - 1 + constant**2) / embedding) ** 0.5
    output[:, 0] = leanings / (constant / norm)
    tensors = {"token_embd.weight": embeddings}
    for block in range(blocks):
        prefix, scale = f"blk.{block}.", 0.7 / embedding**0.5
        tensors |= {
            prefix + "attn_norm.weight": np.ones(embedding, dtype=np.float32),
            prefix + "attn_q.weight": matrix(embedding, embedding, scale),
            prefix + "attn_k.weight": matrix(kv, embedding, scale),
            prefix + "attn_v.weight": matrix(kv, embedding, scale),
            prefix + "attn_output.weight": matrix(embedding, embedding, scale),
            prefix + "ffn_norm.weight": np.ones(embedding, dtype=np.float32),
            prefix + "ffn_gate.weight": matrix(wide, embedding, scale),
            prefix + "ffn_up.weight": matrix(wide, embedding, scale),
            prefix + "ffn_down.weight": matrix(embedding, wide, scale),
        }
    return tensors | {"output_norm.weight": np.ones(embedding, dtype=np.float32), "output.weight": output}


def _add_tensor(writer: gguf.GGUFWriter, name: str, tensor: Matrix, quantization: Quantization) -> None:
    if tensor.ndim == 1 or quantization == "F32":
        writer.add_tensor(name, tensor)
    elif quantization == "F16":
        writer.add_tensor(name, tensor.astype(np.float16))
    else:
        kind = gguf.GGMLQuantizationType[quantization]
        writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
