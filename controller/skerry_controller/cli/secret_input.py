"""Secrets from a prompt, ``-``, ``@FILE`` or the environment; never only from the command line."""

import getpass
import os
import sys
from pathlib import Path

from skerry_controller.errors import UsageError

PASSPHRASE_VARIABLE = "SKERRY_KEYRING_PASSPHRASE"  # noqa: S105 - a name, not a secret
TOKEN_VARIABLE = "SKERRY_TOKEN"  # noqa: S105 - the same


def read_secret(source: str | None, variable: str, prompt: str) -> str:
    """A secret from where the person says it is.

    Args:
        source: ``-`` for a line of stdin, ``@FILE``, or None for the environment and else a prompt.
        variable: The environment variable.
        prompt: What a person is asked on a terminal.

    Raises:
        UsageError: It is nowhere, or was written on the command line.
    """
    if source == "-":
        secret = sys.stdin.readline().strip()
    elif source is not None and source.startswith("@"):
        try:
            secret = Path(source[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the secret from {source[1:]}: {error}") from error
    elif source is not None:
        raise UsageError("a secret does not belong on the command line: use '-' for stdin, or @FILE")
    elif variable in os.environ:
        secret = os.environ[variable]
    elif sys.stdin.isatty():
        secret = getpass.getpass(f"{prompt}: ")
    else:
        raise UsageError(f"{prompt.lower()} is needed: set {variable}, or run this on a terminal")
    if not secret:
        raise UsageError(f"{prompt.lower()} is empty")
    return secret


def keyring_passphrase() -> str:
    """The passphrase of an existing keyring.

    Raises:
        UsageError: It is nowhere.
    """
    return read_secret(None, PASSPHRASE_VARIABLE, "Passphrase of the keyring")


def new_keyring_passphrase() -> str:
    """The passphrase for a new keyring; on a terminal it is asked twice.

    Raises:
        UsageError: It is nowhere, or the two differ.
    """
    passphrase = read_secret(None, PASSPHRASE_VARIABLE, "Passphrase for the new keyring")
    if PASSPHRASE_VARIABLE not in os.environ and getpass.getpass("The same again: ") != passphrase:
        raise UsageError("the two passphrases differ: nothing was made")
    return passphrase
