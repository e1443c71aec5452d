import stat
from pathlib import Path

import pytest

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.keyring import ONLINE_ROLES, OnlineKeys


def test_reopened_keys_are_the_same(tmp_path: Path) -> None:
    made = OnlineKeys.create(tmp_path / "keys")
    opened = OnlineKeys.open(tmp_path / "keys")
    for role in ONLINE_ROLES:
        made.signer(role).public_key.verify_signature(opened.signer(role).sign(b"m"), b"m")
        assert opened.private_key(role).public_key() == made.private_key(role).public_key()


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    OnlineKeys.create(tmp_path / "keys")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_existing_keys_are_never_overwritten(tmp_path: Path) -> None:
    OnlineKeys.create(tmp_path / "keys")
    before = (tmp_path / "keys" / "director.pem").read_bytes()
    with pytest.raises(UsageError, match="has keys already"):
        OnlineKeys.create(tmp_path / "keys")
    assert (tmp_path / "keys" / "director.pem").read_bytes() == before


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    OnlineKeys.create(tmp_path / "keys")
    (tmp_path / "keys" / "snapshot.pem").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        OnlineKeys.open(tmp_path / "keys")


def test_a_missing_key_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="skerry init"):
        OnlineKeys.open(tmp_path)


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    OnlineKeys.create(tmp_path / "keys")
    (tmp_path / "keys" / "timestamp.pem").write_bytes(b"nothing")
    with pytest.raises(WorldError, match=r"timestamp\.pem is damaged"):
        OnlineKeys.open(tmp_path / "keys")
