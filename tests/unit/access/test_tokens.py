import stat
from pathlib import Path

import pytest

from skerry_agent.access import TokenStore
from skerry_agent.errors import UsageError, WorldError


async def test_a_token_is_valid_until_it_is_revoked_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    store = TokenStore.load(path, clock=lambda: 5.0)
    token, secret = await store.create("laptop")
    for each in (store, TokenStore.load(path)):
        assert each.check(secret) == token
        assert each.check(secret[:-1]) is None
        assert each.check("") is None
        assert [t.label for t in each.tokens()] == ["laptop"]
    again = TokenStore.load(path)
    await again.revoke(token.id)
    assert again.check(secret) is None
    assert TokenStore.load(path).check(secret) is None


async def test_the_file_holds_no_secret_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    _, secret = await TokenStore.load(path).create("")
    assert secret.removeprefix("sk-skerry-") not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"[]", b'{"tokens": [{"id": 1}]}', b"\xff"])
async def test_a_damaged_file_lets_nobody_in_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    store = TokenStore.load(path)
    assert store.check("sk-skerry-x") is None
    _, secret = await store.create("new")
    assert store.check(secret) is not None


async def test_unknown_ids_and_labels_that_do_not_print_are_refused(tmp_path: Path) -> None:
    store = TokenStore.load(tmp_path / "tokens.json")
    with pytest.raises(UsageError, match="no token"):
        await store.revoke("nope")
    for label in ("x" * 101, "a\nb", "\x1b[31m"):
        with pytest.raises(UsageError, match="label"):
            await store.create(label)


async def test_a_disk_that_refuses_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = TokenStore.load(tmp_path / "missing" / "tokens.json")
    with pytest.raises(WorldError, match="cannot write"):
        await store.create("x")
    assert store.tokens() == []


@pytest.mark.parametrize("secret", ["é", "\ud800", "x" * 10_000])
async def test_strange_secrets_are_merely_wrong(tmp_path: Path, secret: str) -> None:
    store = TokenStore.load(tmp_path / "tokens.json")
    await store.create("x")
    assert store.check(secret) is None
