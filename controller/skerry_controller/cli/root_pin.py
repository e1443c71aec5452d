"""The first root that an enrollment token carries: the keyring's, so a stolen controller takes no device."""

import hashlib
import os
from pathlib import Path
from typing import Protocol

from skerry_controller.cli.output import print_note
from skerry_controller.cli.profile import load_profile
from skerry_controller.errors import UsageError
from skerry_controller.keyring import Keyring


class _Client(Protocol):
    async def get_bytes(self, path: str) -> bytes: ...


async def root_sha256(client: _Client, keys: Path | None) -> str:
    """The hash of the fleet's first root: from the keyring, from 'skerry login', or else from the controller.

    Raises:
        UsageError: The controller serves another first root than the pinned one.
    """
    served = hashlib.sha256(await client.get_bytes("/repository/metadata/1.root.json")).hexdigest()
    pinned = _pinned(keys)
    if pinned is None:
        print_note(
            "note: the fleet's root is taken from the controller's word; give --keys (or log in with it) to "
            "take it from the keyring"
        )
        return served
    if pinned != served:
        raise UsageError(
            "the controller serves another first root than this keyring's: it belongs to another fleet, or "
            "was tampered with; no token was made"
        )
    return pinned


def _pinned(keys: Path | None) -> str | None:
    if keys is not None:
        return Keyring.open(keys, "").pinned_root_sha256()
    profile = load_profile()
    if profile is None or os.environ.get("SKERRY_URL", profile.url) != profile.url:
        return None
    return profile.root_sha256
