import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry_controller import durable_files
from skerry_controller.errors import UsageError, WorldError
from skerry_controller.keyring import OFFLINE_ROLES, Keyring, KeyringSettings

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHEAP = KeyringSettings(scrypt_n=2)
PASSPHRASE = "correct horse"  # noqa: S105 - protects nothing


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def make(folder: Path, data: Path) -> Keyring:
    return Keyring.create(folder, PASSPHRASE, data_folder=data, now=NOW, settings=CHEAP)


def test_a_reopened_keyring_signs_with_the_keys_that_were_made(tmp_path: Path, data: Path) -> None:
    made = make(tmp_path / "keys", data)
    opened = Keyring.open(tmp_path / "keys", PASSPHRASE, settings=CHEAP)
    for role in OFFLINE_ROLES:
        signature = opened.signer(role).sign(b"message")
        made.signer(role).public_key.verify_signature(signature, b"message")
        assert opened.key_ids[role] == made.signer(role).public_key.keyid
    assert opened.created == NOW
    assert len(set(opened.key_ids.values())) == len(OFFLINE_ROLES)


def test_nobody_else_can_read_the_folder_and_its_files(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "keys", data)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_private_keys_do_not_lie_there_in_the_clear(tmp_path: Path, data: Path) -> None:
    keyring = make(tmp_path / "keys", data)
    content = b"".join(path.read_bytes() for path in (tmp_path / "keys").iterdir())
    assert b"PRIVATE KEY" not in content
    for role in OFFLINE_ROLES:
        key = keyring.signer(role)._private_key
        assert isinstance(key, Ed25519PrivateKey)
        assert key.private_bytes_raw() not in content
        assert key.private_bytes_raw().hex().encode() not in content


def test_a_wrong_passphrase_is_one_clear_line(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "keys", data)
    opened = Keyring.open(tmp_path / "keys", "wrong horse", settings=CHEAP)
    with pytest.raises(UsageError, match="passphrase does not open the models key") as caught:
        opened.signer("models")
    assert "\n" not in str(caught.value)


def test_keys_are_loaded_only_when_asked_for(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "keys", data)
    (tmp_path / "keys" / "root.key").unlink()
    opened = Keyring.open(tmp_path / "keys", PASSPHRASE, settings=CHEAP)
    opened.signer("models")
    with pytest.raises(UsageError, match=r"bring the medium that holds root\.key"):
        opened.signer("root")


def test_key_files_cannot_be_swapped(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "keys", data)
    (tmp_path / "keys" / "configs.key").replace(tmp_path / "keys" / "targets.key")
    with pytest.raises(UsageError, match="targets key"):
        Keyring.open(tmp_path / "keys", PASSPHRASE, settings=CHEAP).signer("targets")


def test_an_index_of_another_keyring_is_noticed(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "one", data)
    make(tmp_path / "two", data)
    (tmp_path / "one" / "keyring.json").replace(tmp_path / "two" / "keyring.json")
    with pytest.raises(UsageError, match="do not belong together"):
        Keyring.open(tmp_path / "two", PASSPHRASE, settings=CHEAP).signer("root")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"format":"skerry-sealed-key"}'])
def test_a_damaged_key_file_is_named(tmp_path: Path, data: Path, content: bytes) -> None:
    make(tmp_path / "keys", data)
    (tmp_path / "keys" / "root.key").write_bytes(content)
    with pytest.raises(UsageError, match=r"root\.key is damaged"):
        Keyring.open(tmp_path / "keys", PASSPHRASE, settings=CHEAP).signer("root")


def test_a_key_file_cannot_ask_for_all_memory(tmp_path: Path, data: Path) -> None:
    make(tmp_path / "keys", data)
    path = tmp_path / "keys" / "root.key"
    path.write_bytes(path.read_bytes().replace(b'"n": 2', b'"n": 1073741824'))
    with pytest.raises(UsageError, match="too much memory"):
        Keyring.open(tmp_path / "keys", PASSPHRASE, settings=CHEAP).signer("root")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"v":2,"created":"2026-11-01T00:00:00Z","keys":{}}'])
def test_a_damaged_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keyring.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"keyring\.json"):
        Keyring.open(tmp_path, PASSPHRASE)


def test_a_place_without_a_keyring_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no keyring"):
        Keyring.open(tmp_path / "nowhere", PASSPHRASE)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        make(folder, data)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, data: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        make(tmp_path / "keys", data)


@pytest.mark.parametrize("place", ["data", "data/keys", "data/a/../b/keys", "link/keys", "."])
def test_keys_inside_the_data_or_around_it_are_refused(tmp_path: Path, data: Path, place: str) -> None:
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(UsageError, match="must be apart"):
        make(tmp_path / place, data)


def test_a_short_passphrase_is_refused_before_anything_is_written(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="at least 8 characters"):
        Keyring.create(tmp_path / "keys", "short", data_folder=data, now=NOW, settings=CHEAP)
    assert not (tmp_path / "keys").exists()


def test_a_disk_that_fills_up_leaves_no_half_keyring(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[str] = []
    stage = durable_files.stage

    def full_after_two(path: Path, content: bytes, mode: int) -> Path:
        staged.append(path.name)
        if len(staged) > 2:
            raise OSError(28, "No space left on device")
        return stage(path, content, mode)

    monkeypatch.setattr(durable_files, "stage", full_after_two)
    with pytest.raises(WorldError, match="No space left"):
        make(tmp_path / "keys", data)
    assert list((tmp_path / "keys").iterdir()) == []


def test_the_first_root_is_pinned_once(tmp_path: Path, data: Path) -> None:
    keyring = make(tmp_path / "keys", data)
    with pytest.raises(UsageError, match="no root yet"):
        keyring.pinned_root_sha256()
    keyring.pin_root(b"root")
    keyring.pin_root(b"root")
    assert keyring.pinned_root() == b"root"
    assert keyring.pinned_root_sha256().startswith("4813494d137e1631")
    with pytest.raises(UsageError, match="another fleet"):
        keyring.pin_root(b"another")
