"""The grammar of names: artifacts, versions, channels, devices, target paths.

A name is also a path segment, a topic level and a certificate's common name; the grammar is the
intersection of what is safe in all of them.
"""

import re
import secrets
from typing import NamedTuple, Self

from skerry_protocol.errors import NameSyntaxError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,30}[A-Za-z0-9])?")
_DEVICE = re.compile(r"d-[a-z2-7]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

LOCAL_PREFIX = "local/"
CONTROLLER_NAME = "skerry-controller"
TRUST_TARGET = "fleet/trust.json"
NAME_RULE = "lower-case letters, digits, '.', '_' and '-', 64 at most, with a letter or digit at both ends"
VERSION_RULE = "letters, digits, '.', '_' and '-', 32 at most, with a letter or digit at both ends"


def check_name(text: str) -> str:
    """Return ``text`` when it is a valid artifact name.

    Raises:
        NameSyntaxError: It is not; the message gives the rule.
    """
    if not _NAME.fullmatch(text):
        raise NameSyntaxError(f"{text!r} is not a name: use {NAME_RULE}")
    return text


def check_version(text: str) -> str:
    """Return ``text`` when it is a valid version.

    Raises:
        NameSyntaxError: It is not; the message gives the rule.
    """
    if not _VERSION.fullmatch(text):
        raise NameSyntaxError(f"{text!r} is not a version: use {VERSION_RULE}")
    return text


def check_sha256(text: str) -> str:
    """Return ``text`` when it is a SHA-256 in lower-case hex.

    Raises:
        NameSyntaxError: It is not.
    """
    if not _SHA256.fullmatch(text):
        raise NameSyntaxError(f"{text!r} is not a SHA-256: 64 lower-case hexadecimal digits are")
    return text


def check_device(text: str) -> str:
    """Return ``text`` when it is a device id as the controller assigns them.

    Raises:
        NameSyntaxError: It is not.
    """
    if not _DEVICE.fullmatch(text):
        raise NameSyntaxError(f"{text!r} is not a device id such as d-abcdefgh23456723")
    return text


def new_device_id() -> str:
    """A fresh random device id (80 bits)."""
    return "d-" + "".join(secrets.choice(_BASE32) for _ in range(16))


class ArtifactRef(NamedTuple):
    """``NAME@VERSION``, or ``local/NAME@VERSION`` for what a person imported on the device."""

    name: str
    version: str
    local: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``[local/]NAME@VERSION``.

        Raises:
            NameSyntaxError: The text is not of that form.
        """
        local = text.startswith(LOCAL_PREFIX)
        name, separator, version = text.removeprefix(LOCAL_PREFIX).partition("@")
        if not separator:
            raise NameSyntaxError(f"{text!r} has no version: write NAME@VERSION, such as {name or 'model'}@1")
        return cls(check_name(name), check_version(version), local)

    def __str__(self) -> str:
        return f"{LOCAL_PREFIX if self.local else ''}{self.name}@{self.version}"


class Channel(NamedTuple):
    """A line of versions that devices follow: ``LINE/TRACK``, such as ``assistant/stable``."""

    line: str
    track: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``LINE/TRACK``.

        Raises:
            NameSyntaxError: The text is not of that form, or its line is the reserved ``local``.
        """
        line, separator, track = text.partition("/")
        if not separator or line == "local":
            raise NameSyntaxError(f"{text!r} is not a channel: write LINE/TRACK, such as assistant/stable")
        return cls(check_name(line), check_name(track))

    def __str__(self) -> str:
        return f"{self.line}/{self.track}"


TARGET_FOLDERS = {"model": "models", "adapter": "models", "config": "configs"}
"""Kind of artifact -> folder of its target, which is also the name of the delegated role."""


def target_path(kind: str, ref: ArtifactRef) -> str:
    """The TUF target path of an artifact's manifest or bundle: ``models/NAME/VERSION.json``.

    Raises:
        ValueError: Unknown kind, or a local artifact (those are no targets).
    """
    if ref.local or kind not in TARGET_FOLDERS:
        raise ValueError(f"{ref} of kind {kind!r} has no target path")
    return f"{TARGET_FOLDERS[kind]}/{ref.name}/{ref.version}.json"


def parse_target_path(path: str) -> tuple[str, ArtifactRef]:
    """The delegated role (``models``, ``configs``) and the artifact of a target path.

    Raises:
        NameSyntaxError: The path is not an artifact's.
    """
    parts = path.split("/")
    if len(parts) != 3 or parts[0] not in TARGET_FOLDERS.values() or not parts[2].endswith(".json"):  # noqa: PLR2004 - role, name, file
        raise NameSyntaxError(f"{path!r} is not an artifact's target path")
    return parts[0], ArtifactRef(check_name(parts[1]), check_version(parts[2].removesuffix(".json")))
