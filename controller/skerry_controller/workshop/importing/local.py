"""Files and folders of this machine."""

from pathlib import Path

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.importing.shards import shard_names, whole_sets

_LISTED = 12


def is_checkpoint(path: Path) -> bool:
    """Whether a folder holds a Hugging Face checkpoint."""
    return path.is_dir() and (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def local_files(path: Path) -> list[Path]:
    """The files of the one model that is meant: a file, the parts of one, or the only model of a folder.

    Raises:
        UsageError: There is no such file, or the folder has several models or none.
        PeerError: A part is missing.
        WorldError: The disk refused.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        if not path.exists():
            raise UsageError(f"there is no file {path}")
        names = shard_names(path.name)
        if names is None:
            return [path]
        beside = [each for each in path.parent.iterdir() if each.name in names]
        return whole_sets(beside, lambda each: each.name)[0]
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error


def _of_folder(path: Path) -> list[Path]:
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".gguf" and each.is_file())
    sets = whole_sets(files, lambda each: each.name)
    if not sets:
        raise UsageError(
            f"{path} has no GGUF file, and is no checkpoint either (config.json with *.safetensors): give "
            "the model's file or folder"
        )
    if len(sets) > 1:
        names = ", ".join(each[0].name for each in sets[:_LISTED])
        raise UsageError(f"{path} has {len(sets)} models, say which file: {names}")
    return sets[0]
