"""llama.cpp's source, as the source distribution of llama-cpp-python carries it."""

import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from skerry_controller.errors import WorldError

PACKAGE: Final = "llama-cpp-python"
DOWNLOAD_BYTES: Final = 77_000_000
"""Of the source distribution of 0.3.36; the converter is 2 MB of it."""
INSIDE: Final = "vendor/llama.cpp/"
CONVERTER: Final = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/", "LICENSE")

Run = Callable[[Sequence[str]], object]
"""Runs a command to its end; raises when it fails."""


def download_source(python: Path, version: str, folder: Path, run: Run) -> Path:
    """Download the source distribution into ``folder`` with the pip of ``python``; return the archive."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "download", "-q"]
    run([*pip, "--no-deps", "--no-binary", PACKAGE, "-d", str(folder), f"{PACKAGE}=={version}"])
    found = list(folder.glob("*.tar.gz"))
    if len(found) != 1:
        raise WorldError(f"the package index gave no source of {PACKAGE} {version}")
    return found[0]


def unpack_converter(archive: Path, folder: Path) -> None:
    """Unpack the converter alone; ``folder`` is there only when all of it is.

    Raises:
        WorldError: It is not in the archive.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, tarfile.open(archive) as tar:
        members = [member for member in tar if _belongs(member.name)]
        tar.extractall(scratch, members=members, filter="data")
        found = list(Path(scratch).glob(f"*/{INSIDE}{CONVERTER[0]}"))
        if len(found) != 1:
            raise WorldError(f"{archive.name} carries no converter: this version of {PACKAGE} has none")
        found[0].parent.replace(folder)


def _belongs(name: str) -> bool:
    inside = name.partition("/")[2].removeprefix(INSIDE)
    return INSIDE in name and any(inside == part or inside.startswith(part) for part in CONVERTER)
