from dataclasses import replace
from pathlib import Path

import pytest

from skerry_controller.broker import BrokerSettings
from skerry_controller.broker.account import Account, can_traverse, files_folder, find_account
from skerry_controller.errors import WorldError

STRANGER = Account(user_id=64_001, group_id=64_002)


@pytest.fixture
def settings(tmp_path: Path) -> BrokerSettings:
    return BrokerSettings(folder=tmp_path / "data" / "broker", run_folder=tmp_path / "run")


def test_an_ordinary_user_keeps_its_account(settings: BrokerSettings) -> None:
    assert find_account(settings, 1000) is None


def test_root_without_the_brokers_account_says_what_to_do(settings: BrokerSettings) -> None:
    with pytest.raises(WorldError, match="useradd --system nosuchuser"):
        find_account(replace(settings, account="nosuchuser"), 0)


def test_root_changes_to_an_existing_account(settings: BrokerSettings) -> None:
    assert find_account(replace(settings, account="root"), 0) == Account(0, 0)


@pytest.mark.parametrize(("mode", "passes"), [(0o700, False), (0o701, True), (0o750, False), (0o755, True)])
def test_a_stranger_passes_where_the_bits_for_others_let_it(tmp_path: Path, mode: int, passes: bool) -> None:
    tmp_path.chmod(mode)
    assert can_traverse(tmp_path, STRANGER) == passes
    tmp_path.chmod(0o700)


def test_the_owners_and_the_groups_bits_count_for_them(tmp_path: Path) -> None:
    status = tmp_path.stat()
    tmp_path.chmod(0o710)
    assert can_traverse(tmp_path, Account(status.st_uid, 64_002))
    assert can_traverse(tmp_path, Account(64_001, status.st_gid))


def test_files_stay_in_the_data_when_they_can_be_reached(settings: BrokerSettings) -> None:
    assert files_folder(settings, None) == settings.folder.resolve()


def test_files_move_when_the_account_cannot_reach_the_data(settings: BrokerSettings, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    moved = files_folder(settings, STRANGER)
    assert moved.parent == tmp_path / "run"
    assert moved == files_folder(settings, STRANGER)
    assert moved != files_folder(replace(settings, folder=tmp_path / "other"), STRANGER)
