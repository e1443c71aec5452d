"""The converter and what it needs, in an environment of its own that is made at first use.

llama.cpp's converter needs PyTorch and transformers: nothing that an operator's installation should carry.
Each step leaves something whole behind, so that an installation that was killed goes on where it was, and the
mark that all is there is written last.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from skerry_controller.durable_files import write_durably
from skerry_controller.errors import WorldError
from skerry_controller.workshop.child import run_tool
from skerry_controller.workshop.converting import source
from skerry_controller.workshop.progress import Progress, StopSign

TORCH: Final = "2.13.0"
REQUIREMENTS: Final = (
    "transformers==4.57.6",
    "numpy>=2.2.6,<3",
    "sentencepiece>=0.1.98,<0.3",
    "protobuf>=4.21,<8",
)
"""As llama.cpp's ``requirements-convert_hf_to_gguf.txt`` asks; newer ones are allowed where they work."""
CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"
"""PyTorch's builds without CUDA. Those of PyPI bring gigabytes of it along on x86-64."""

DOWNLOAD_BYTES: Final = 234_000_000 + source.DOWNLOAD_BYTES
DISK_BYTES: Final = 1_050_000_000
"""Measured on x86-64 with Python 3.11 (torch alone is 754 MB)."""
INSTALL_BYTES: Final = DISK_BYTES + DOWNLOAD_BYTES
"""While it is installed, the downloaded packages lie beside what was made of them."""

INDEX_VARIABLE: Final = "SKERRY_CONVERTER_INDEX"
_PIP_VARIABLES: Final = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "NETRC")
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_TRIAL: Final = "import torch, transformers, sentencepiece, numpy"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSettings:
    """What is installed, and from where.

    Attributes:
        folder: Where environments are kept.
        version: Of llama-cpp-python, whose llama.cpp the converter belongs to.
        torch: Requirement for PyTorch; tried in turn until one is found.
        requirements: The other packages.
        indexes: Package indexes beside those that pip is configured for.
    """

    folder: Path
    version: str
    torch: tuple[tuple[str, ...], ...] = ()
    requirements: tuple[str, ...] = REQUIREMENTS
    indexes: tuple[str, ...] = field(default=())
    trial: str = _TRIAL

    @classmethod
    def usual(cls, indexes: Sequence[str] = ()) -> "EnvironmentSettings":
        """Those of this machine.

        Raises:
            WorldError: llama-cpp-python is not installed.
        """
        try:
            version = importlib.metadata.version(source.PACKAGE)
        except importlib.metadata.PackageNotFoundError as error:
            raise WorldError(
                "llama-cpp-python is not installed here: pip install 'skerry[workshop]'"
            ) from error
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        named = tuple(os.environ.get(INDEX_VARIABLE, "").split())
        return cls(
            folder=cache / "skerry", version=version, torch=_torch_choices(), indexes=(*indexes, *named)
        )


def _torch_choices() -> tuple[tuple[str, ...], ...]:
    """Options for pip, tried in turn: never a build with CUDA."""
    cpu = f"torch=={TORCH}+cpu"
    choices = [(cpu,), ("--extra-index-url", CPU_INDEX, cpu)]
    if platform.machine() == "aarch64":  # where PyPI's own build is for the CPU
        choices.append((f"torch=={TORCH}",))
    return tuple(choices)


class Environment:
    """The converter's folder: its source, an interpreter, its packages."""

    def __init__(self, settings: EnvironmentSettings) -> None:
        self._settings = settings
        python = f"py{sys.version_info.major}.{sys.version_info.minor}"
        self.folder = settings.folder / f"converter-{settings.version}-{python}"
        self.source = self.folder / "source"
        self.python = self.folder / "venv" / "bin" / "python"
        self._mark = self.folder / "complete.json"

    @property
    def version(self) -> str:
        """Of llama-cpp-python."""
        return self._settings.version

    def is_ready(self) -> bool:
        """Whether all of it is there."""
        return self._mark.is_file() and self.python.exists() and self.has_source

    @property
    def has_source(self) -> bool:
        """Whether the converter itself is there: that tells which architectures it knows."""
        return (self.source / source.CONVERTER[0]).is_file()

    def fetch_source(self, progress: Progress, stop: StopSign) -> None:
        """Have the converter's source, which is the smaller part by far.

        Raises:
            WorldError: No package index answers, or no space.
            StoppedError: It was asked to stop.
        """
        with self._owned():
            self._make_venv(progress, stop)
            if self.has_source:
                return
            progress(f"fetching llama.cpp's converter {self.version}", 0)
            with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                archive = source.download_source(
                    self.python, self.version, Path(scratch), lambda command: self._run(command, stop)
                )
                source.unpack_converter(archive, self.source)

    def install(self, progress: Progress, stop: StopSign) -> None:
        """Have all of it. What was there before, whole or in part, is used.

        Raises:
            WorldError: No package index answers, or no space.
            StoppedError: It was asked to stop; what is whole stays, and the next installation goes on there.
        """
        if self.is_ready():
            return
        self._check_space()
        self.fetch_source(progress, stop)
        with self._owned():
            if self.is_ready():
                return
            wheels = self._download(progress, stop)
            progress("installing the converter's packages", 0)
            pip = [*self._pip("install"), "--no-index", "--no-deps", "--force-reinstall", "--no-compile"]
            self._run([*pip, *map(str, wheels)], stop)
            self._run([str(self.python), "-I", "-c", self._settings.trial], stop)
            names = sorted(wheel.name for wheel in wheels)
            write_durably(self._mark, json.dumps({"packages": names}, indent=2).encode())
            shutil.rmtree(self.folder / "wheels", ignore_errors=True)

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """One process at a time works on it; what a killed one had in hand is removed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise WorldError(f"another process installs {self.folder}: wait for it") from error
                for rest in self.folder.glob("tmp*"):
                    shutil.rmtree(rest, ignore_errors=True)
                yield
        except OSError as error:
            raise WorldError(f"cannot install the converter in {self.folder}: {error}") from error

    def _make_venv(self, progress: Progress, stop: StopSign) -> None:
        mark = self.folder / "venv.complete"
        if mark.is_file() and self.python.exists():
            return
        progress("making the converter's environment", 0)
        self._run([sys.executable, "-m", "venv", "--clear", str(self.folder / "venv")], stop)
        write_durably(mark, b"")

    def _download(self, progress: Progress, stop: StopSign) -> list[Path]:
        """All packages, one by one: what is whole does not have to be fetched again."""
        folder = self.folder / "wheels"
        folder.mkdir(exist_ok=True)
        packages = self._resolve(progress, stop)
        wheels = []
        for index, (name, version, url, sha256) in enumerate(packages):
            progress(f"fetching the converter's {len(packages)} packages", index, len(packages))
            wheel = folder / unquote(urlsplit(url).path.rpartition("/")[2])
            if not wheel.is_file():
                with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                    pinned = f"{name} @ {url}#sha256={sha256}" if sha256 else f"{name}=={version}"
                    self._run(
                        [*self._pip("download"), *self._indexes(), "--no-deps", "-d", scratch, pinned], stop
                    )
                    (found,) = Path(scratch).iterdir()
                    found.replace(wheel)
            wheels.append(wheel)
        progress(f"fetching the converter's {len(packages)} packages", len(packages), len(packages))
        return wheels

    def _resolve(self, progress: Progress, stop: StopSign) -> list[tuple[str, str, str, str | None]]:
        """Which packages it takes: name, version, address and digest of each."""
        progress("asking the package index", 0)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            report = Path(scratch) / "report.json"
            resolve = [*self._pip("install"), "--dry-run", "--ignore-installed", "--report", str(report)]
            choices = self._settings.torch or ((),)
            for number, torch in enumerate(choices, start=1):
                wanted = [*self._indexes(), *torch, *self._settings.requirements]
                try:
                    self._run([*resolve, "--only-binary", ":all:", *wanted], stop)
                except WorldError:
                    if number == len(choices):
                        raise
                else:
                    break
            return [_package(each) for each in json.loads(report.read_bytes())["install"]]

    def _indexes(self) -> list[str]:
        return [word for index in self._settings.indexes for word in ("--extra-index-url", index)]

    def _pip(self, command: str) -> list[str]:
        return [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", command, "-q"]

    def _run(self, command: Sequence[str], stop: StopSign) -> None:
        lines: list[bytes] = []
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_PIP_VARIABLES) or name.lower() in _PROXIES
        }
        code, tail = run_tool(command, lines.append, stop=stop, environment=kept | {"PYTHONPATH": ""})
        if code:
            said = [line for line in tail.splitlines() if "ERROR" in line] or tail.splitlines()[-1:]
            raise WorldError(f"cannot install the converter: {' '.join(said) or f'exit code {code}'}")

    def _check_space(self) -> None:
        there = self._settings.folder
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        if free < INSTALL_BYTES:
            raise WorldError(
                f"no space for the converter: it takes {INSTALL_BYTES / 1e9:.1f} GB while it is installed, "
                f"and {there} has {free / 1e9:.1f} GB free"
            )


def _package(entry: dict[str, Any]) -> tuple[str, str, str, str | None]:
    download = entry["download_info"]
    hashes = download.get("archive_info", {}).get("hashes", {})
    metadata = entry["metadata"]
    return metadata["name"], metadata["version"], download["url"], hashes.get("sha256")
