"""What ``skerry login`` keeps, for this user alone: the controller's address, the token, the pinned root."""

import os
from pathlib import Path

import msgspec

from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_controller.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8600"


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One controller as this operator knows it.

    Attributes:
        url: Of the operator API.
        token: The administrator's.
        keys: The keyring's folder, when it was given.
        root_sha256: Of the fleet's first root, from the keyring: what enrollment tokens carry.
    """

    v: int = 1
    url: str
    token: str
    keys: str | None = None
    root_sha256: str | None = None


def profile_path() -> Path:
    """``$XDG_CONFIG_HOME/skerry/operator.json``, usually below ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "skerry" / "operator.json"


def load_profile() -> Profile | None:
    """The saved profile, or None.

    Raises:
        UsageError: The file is damaged.
    """
    content = read_file(profile_path())
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Profile)
    except msgspec.DecodeError as error:
        raise UsageError(f"{profile_path()} is damaged ({error}): run 'skerry login' again") from error


def save_profile(profile: Profile) -> Path:
    """Replace the saved profile; mode 0600.

    Raises:
        WorldError: The disk refused.
    """
    path = profile_path()
    make_private_folder(path.parent)
    write_durably(path, msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n")
    return path
