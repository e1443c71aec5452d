"""As whom mosquitto runs, and where that user can read its files.

Started as root, mosquitto would drop to the user ``mosquitto`` by itself, before it reads its TLS
files; with ``user root`` it would face the network as root. So a root controller starts it as that
user from the outset, and lets its group read (never write) the files. Such a controller's data is
often out of that user's reach (below ``/root``, say): then the files go to a folder in ``/run``.
"""

import grp
import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from skerry_controller.broker.settings import BrokerSettings
from skerry_controller.errors import WorldError


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its main group."""

    user_id: int
    group_id: int


def find_account(settings: BrokerSettings, effective_user_id: int) -> Account | None:
    """The account to change to; None when mosquitto shall run as the controller's own user.

    Raises:
        WorldError: The controller is root and the account does not exist.
    """
    if effective_user_id != 0:
        return None
    try:
        entry = pwd.getpwnam(settings.account)
        grp.getgrgid(entry.pw_gid)
    except KeyError as error:
        raise WorldError(
            f"there is no user {settings.account} for the broker: run 'useradd --system {settings.account}', "
            "or run the controller as another user than root"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


def files_folder(settings: BrokerSettings, account: Account | None) -> Path:
    """Where the broker's files go: the folder of the settings, if the account can reach it."""
    folder = settings.folder.resolve()
    if account is None or all(can_traverse(parent, account) for parent in folder.parents if parent.exists()):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return settings.run_folder / f"skerry-broker-{digest}"


def can_traverse(folder: Path, account: Account) -> bool:
    """Whether the mode bits let the account pass through the folder."""
    status = folder.stat()
    if status.st_uid == account.user_id:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.group_id:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
