import importlib
import stat
from pathlib import Path

import pytest

from skerry_controller.clock import utc_now
from skerry_controller.data_folder import DataFolder, InUseError
from skerry_controller.errors import UsageError
from skerry_controller.setup import Plan, initialise
from support.controller_data import CHEAP, PASSPHRASE, make_controller, open_keyring, opened_core, plan


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_it_makes_a_keyring_apart_and_a_data_folder(tmp_path: Path) -> None:
    made = await make_controller(tmp_path)
    assert {"root.key", "targets.key", "models.key", "configs.key", "1.root.json"} <= tree(tmp_path / "keys")
    data = tree(tmp_path / "data")
    assert {"controller.db", "controller.toml", "keys/director.pem", "repository/timestamp.json"} <= data
    assert not any("root.key" in name or "models.key" in name or "unfinished" in name for name in data)
    assert made.root_sha256 == open_keyring(made).pinned_root_sha256()
    assert made.admin_token not in (tmp_path / "data" / "controller.db").read_bytes().decode("latin1")
    for folder in ("keys", "data"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


async def test_the_trust_document_names_every_host_and_port(tmp_path: Path) -> None:
    wanted = Plan(
        data=tmp_path / "data",
        keys=tmp_path / "keys",
        hosts=("skerry.example", "fd00::1"),
        device_port=1111,
        broker_port=2222,
        topic_root="acme/v1",
    )
    made = await initialise(wanted, PASSPHRASE, clock=utc_now, keyring_settings=CHEAP)
    assert made.controller_urls == ("https://skerry.example:1111", "https://[fd00::1]:1111")
    assert made.broker_urls == ("mqtts://skerry.example:2222", "mqtts://[fd00::1]:2222")


async def test_a_second_run_on_the_same_folders_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    await make_controller(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"a controller in .* already"):
        await make_controller(tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("folder", ["data", "keys"])
async def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        await make_controller(tmp_path)
    assert (tmp_path / folder / "mine.txt").read_text() == "precious"


async def test_what_an_interrupted_run_left_is_cleaned_by_the_next(tmp_path: Path) -> None:
    for folder, name in (("data", "keys"), ("keys", "root.key")):
        stage = tmp_path / folder / ".unfinished"
        stage.mkdir(parents=True)
        (stage / name).write_text("half")
    (tmp_path / "data" / "authorities").mkdir()
    await make_controller(tmp_path)
    assert not any("unfinished" in name for name in tree(tmp_path))


async def test_a_run_that_fails_leaves_no_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError("disk")

    module = importlib.import_module("skerry_controller.setup.initialise")
    monkeypatch.setattr(module, "create_repository", fail)
    with pytest.raises(OSError, match="disk"):
        await make_controller(tmp_path)
    assert tree(tmp_path) == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hosts": ()}, "at least one --host"),
        ({"hosts": ("not a host",)}, "neither a host name nor an IP address"),
        ({"device_port": 8600}, "must differ"),
    ],
)
def test_an_impossible_plan_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"hosts": ("127.0.0.1",), **change}
    with pytest.raises(UsageError, match=message):
        Plan(data=tmp_path / "data", keys=tmp_path / "keys", **values).check()  # type: ignore[arg-type]  # by name


def test_keys_inside_the_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="apart"):
        Plan(data=tmp_path, keys=tmp_path / "keys", hosts=("a",)).check()


async def test_a_short_passphrase_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too short"):
        await initialise(plan(tmp_path), "short", clock=utc_now, keyring_settings=CHEAP)
    assert tree(tmp_path) == set()


async def test_only_one_process_works_on_a_data_folder(tmp_path: Path) -> None:
    async with opened_core(tmp_path) as (made, _core):
        with pytest.raises(InUseError, match="a controller runs on"), DataFolder(made.plan.data).lock():
            pass
    with DataFolder(made.plan.data).lock():
        pass


def test_a_folder_without_a_controller_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run 'skerry init"):
        DataFolder(tmp_path).check()
