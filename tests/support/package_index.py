"""A folder from which pip can install small packages, made without any tool."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

_BACKEND = """\
import pathlib


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = "{package}-{version}.dist-info"
    folder = pathlib.Path(metadata_directory, name)
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n")
    return name


def build_wheel(*arguments, **options):
    raise RuntimeError("nobody builds this")
"""


def write_wheel(folder: Path, package: str, version: str, code: str, *, needs: str | None = None) -> Path:
    """A wheel of one module."""
    path = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    if needs is not None:
        metadata += f"Requires-Dist: {needs}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{package}.py", code)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def write_source(folder: Path, package: str, version: str, files: Mapping[str, str]) -> Path:
    """A source distribution that carries ``files`` and needs nothing to be looked at."""
    path = folder / f"{package}-{version}.tar.gz"
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{package}"\nversion = "{version}"\n'
    )
    own = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        "pyproject.toml": project,
        "backend.py": _BACKEND.format(package=package, version=version),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, text in (own | dict(files)).items():
            member = tarfile.TarInfo(f"{package}-{version}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path
