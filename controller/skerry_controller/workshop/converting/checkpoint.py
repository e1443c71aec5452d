"""Looks at a Hugging Face checkpoint before any tool does: is it whole, and do its parts belong together?"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_controller.workshop.converting.safetensors import StoredTensor, read_safetensors
from skerry_controller.workshop.converting.vocabulary import count_tokens
from skerry_controller.workshop.progress import Progress, StopSign

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
LEAST_TOKENS_SHARE: Final = 0.75
"""Checkpoints pad their embeddings (Phi-4-mini by 0.02 %); a tokenizer that fills so little is another's."""

_INDEX: Final = "model.safetensors.index.json"
_WHOLE: Final = "model.safetensors"
_PICKLED: Final = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_EMBEDDINGS: Final = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|tok_embeddings)\.weight$")
_READ_BYTES: Final = 4 * 1024 * 1024


class Checkpoint(NamedTuple):
    """A checkpoint that is whole.

    Attributes:
        folder: Where it is.
        architecture: As ``config.json`` names it, such as ``LlamaForCausalLM``.
        files: What the result depends on, in order: weights, configuration, tokenizer.
        tensors: All tensors by name.
    """

    folder: Path
    architecture: str
    files: tuple[Path, ...]
    tensors: dict[str, StoredTensor]

    @property
    def elements(self) -> int:
        """Of all tensors."""
        return sum(tensor.elements for tensor in self.tensors.values())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Check a checkpoint, without running anything of it.

    Raises:
        PeerError: Something is missing, cut short, pickled, or belongs to another model.
        UsageError: There is no such folder, or it holds something else.
        WorldError: The disk refused.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: give the folder with config.json and the weights")
    try:
        config = _config(folder)
        shards = _shards(folder)
        tensors: dict[str, StoredTensor] = {}
        for shard in shards:
            tensors |= read_safetensors(shard)
        _check_index(folder, tensors)
        tokenizers = _check_tokenizer(folder, config, tensors)
    except OSError as error:
        raise WorldError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    architecture = _architecture(folder, config)
    return Checkpoint(folder, architecture, (*shards, folder / "config.json", *tokenizers), tensors)


def digest(checkpoint: Checkpoint, progress: Progress, stop: StopSign) -> str:
    """SHA-256 over the names and digests of what the result depends on, as ``sha256sum`` lists them.

    Raises:
        StoppedError: It was asked to stop.
        OSError: The disk refused.
    """
    total = sum(file.stat().st_size for file in checkpoint.files)
    done, lines = 0, []
    for file in checkpoint.files:
        hashed = hashlib.sha256()
        with file.open("rb") as stream:
            while part := stream.read(_READ_BYTES):
                stop.check()
                hashed.update(part)
                done += len(part)
                progress("hashing the checkpoint", done, total)
        lines.append(f"{hashed.hexdigest()}  {file.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        if any(folder.glob("*.gguf")):
            raise UsageError(f"{folder} holds GGUF files: import them with 'skerry model import FILE'")
        raise UsageError(f"{folder} is no checkpoint: it has no config.json")
    return read_json(path)


def _architecture(folder: Path, config: dict[str, Any]) -> str:
    named = config.get("architectures")
    if not isinstance(named, list) or len(named) != 1 or not isinstance(named[0], str):
        raise PeerError(
            f"{folder / 'config.json'} names no architecture: it must have one in 'architectures'"
        )
    return named[0]


def _shards(folder: Path) -> tuple[Path, ...]:
    index = folder / _INDEX
    if index.is_file():
        names = sorted(set(_weight_map(index).values()))
        if not names or any(Path(name).name != name for name in names):
            raise PeerError(f"{index} names no files, or files outside of its folder")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise PeerError(
                f"{folder} is not whole: {len(missing)} of {len(names)} files that {_INDEX} names are "
                f"missing, such as {missing[0]}; download the rest"
            )
        return tuple(folder / name for name in names)
    if (folder / _WHOLE).is_file():
        return (folder / _WHOLE,)
    pickled = [file.name for pattern in _PICKLED for file in sorted(folder.glob(pattern))]
    if pickled:
        raise PeerError(
            f"{folder} holds pickled weights ({pickled[0]}), which can run any code when they are read: get "
            "the safetensors of this model, or convert them where that does no harm"
        )
    if any(folder.glob("*.safetensors")):
        raise PeerError(f"{folder} has parts of a model but neither {_WHOLE} nor {_INDEX}: download the rest")
    raise PeerError(f"{folder} has no weights: {_WHOLE} is missing")


def _check_index(folder: Path, tensors: dict[str, StoredTensor]) -> None:
    index = folder / _INDEX
    if not index.is_file():
        return
    missing = sorted(_weight_map(index).keys() - tensors.keys())
    if missing:
        raise PeerError(
            f"{folder} is not whole: {len(missing)} tensors that {_INDEX} names are in none of its files, "
            f"such as {missing[0]}; its files are of different versions"
        )


def _weight_map(index: Path) -> dict[str, str]:
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise PeerError(f"{index} has no weight_map")
    return named


def _check_tokenizer(
    folder: Path, config: dict[str, Any], tensors: dict[str, StoredTensor]
) -> tuple[Path, ...]:
    names = ("tokenizer.model", "tokenizer.json", "vocab.json", "tekken.json")
    found = tuple(folder / name for name in names if (folder / name).is_file())
    if not found:
        raise PeerError(f"{folder} has no tokenizer: one of {', '.join(names)} must be there")
    rows = _rows(config, tensors.items())
    for file in found:
        count = count_tokens(file)
        if count is None or rows is None:
            continue
        if not LEAST_TOKENS_SHARE * rows <= count <= rows:
            raise PeerError(f"{file} is another model's: it has {count} tokens, and the model embeds {rows}")
    extra = ("merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
    return (*found, *(folder / name for name in extra if (folder / name).is_file()))


def _rows(config: dict[str, Any], tensors: Iterable[tuple[str, StoredTensor]]) -> int | None:
    """How many tokens the model embeds."""
    for name, tensor in tensors:
        if _EMBEDDINGS.search(name) and tensor.shape:
            return tensor.shape[0]
    stated = config.get("vocab_size")
    return stated if isinstance(stated, int) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        PeerError: The file is none.
        OSError: The disk refused.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise PeerError(f"{path} is too large to be what its name says")
    try:
        read = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PeerError(f"{path} cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise PeerError(f"{path} is no JSON object")
    return read
