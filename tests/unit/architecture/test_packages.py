"""Who may import whom: a device never carries the controller, the protocol carries nobody."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "skerry_protocol": ("protocol", {"skerry_agent", "skerry_controller"}),
    "skerry_agent": ("agent", {"skerry_controller"}),
    "skerry_controller": ("controller", {"skerry_agent"}),
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_what_its_package_must_not(package: str) -> None:
    folder, forbidden = PACKAGES[package]
    files = list((ROOT / folder / package).rglob("*.py"))
    assert files
    offenders = {str(f.relative_to(ROOT)): found for f in files if (found := imported(f) & forbidden)}
    assert offenders == {}


def test_the_daemon_loads_no_controller_and_no_llama() -> None:
    code = (
        "import sys, skerry_agent, skerry_agent.daemon\n"
        "bad = [m for m in sys.modules if m.partition('.')[0] in"
        " ('skerry_controller', 'llama_cpp', 'numpy', 'fastapi', 'sqlalchemy', 'jinja2')]\n"
        "print(bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["protocol", "agent", "controller"])
def test_no_file_grows_beyond_what_one_reader_holds(folder: str) -> None:
    lengths = {f: len(f.read_text(encoding="utf-8").splitlines()) for f in (ROOT / folder).rglob("*.py")}
    assert {str(f.relative_to(ROOT)): n for f, n in lengths.items() if n > 400} == {}
