"""The server never loads the operator's keys: no module that it runs names what could."""

import ast
from pathlib import Path

import pytest

import skerry_controller

ROOT = Path(skerry_controller.__file__).parent
SERVER_ROOMS = (
    "serve",
    "operator_api",
    "device_api",
    "enrollment",
    "artifacts",
    "blobs",
    "database",
    "fleet",
    "rollouts",
    "telemetry",
    "mqtt",
    "director",
    "broker",
)
SIGNING_SIDE = {ROOT / "artifacts" / "adding.py"}
"""Run by commands: it gets a signer, and no module of the server imports it."""
OPENS_KEYS = {"Keyring", "create_repository", "add_target", "resign"}

FILES = [path for room in SERVER_ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    imported = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return imported | modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_the_server_can_open_a_keyring(path: Path) -> None:
    names = names_in(path)
    if path not in SIGNING_SIDE:
        assert not names & OPENS_KEYS
        assert "skerry_controller.artifacts.adding" not in names
        assert "skerry_controller.setup" not in names
    assert "skerry_controller.keyring.offline" not in names
