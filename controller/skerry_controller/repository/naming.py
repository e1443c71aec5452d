"""Roles, target paths, and the names under which TUF clients ask for files (consistent snapshots)."""

import re
from typing import Literal, get_args

from skerry_protocol.deltas import parse_delta_path
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.names import TRUST_TARGET, parse_target_path

TargetsRole = Literal["targets", "models", "configs"]
TARGETS_ROLES: tuple[TargetsRole, ...] = get_args(TargetsRole)

DELEGATED_PATHS: dict[TargetsRole, list[str]] = {
    "models": ["models/*/*.json"],
    "configs": ["configs/*/*.json"],
}
MUTABLE_TARGETS = frozenset({TRUST_TARGET})
"""Targets that may change their bytes; every other path is an artifact and immutable."""

TIMESTAMP_NAME = "timestamp.json"

_STORED_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){0,3}[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MAX_NAME_CHARACTERS = 300


def metadata_name(role: str, version: int) -> str:
    """File name of one version of a role's metadata, such as ``3.snapshot.json``."""
    return f"{version}.{role}.json"


def target_name(path: str, sha256: str) -> str:
    """File name of a target: the hash stands before the last part of its path."""
    folder, separator, base = path.rpartition("/")
    return f"{folder}{separator}{sha256}.{base}"


def is_stored_name(name: str) -> bool:
    """Whether a file of the repository can have this name; devices may ask for anything at all."""
    return len(name) <= _MAX_NAME_CHARACTERS and _STORED_NAME.fullmatch(name) is not None


def role_of(path: str) -> TargetsRole:
    """The role that is responsible for a target path.

    Raises:
        NameSyntaxError: No role is.
    """
    if path == TRUST_TARGET:
        return "targets"
    if parse_delta_path(path) is not None:
        return "models"
    folder, _ = parse_target_path(path)
    for role in DELEGATED_PATHS:
        if role == folder:
            return role
    raise NameSyntaxError(f"{path!r} belongs to no role of the repository")
