import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skerry_controller.authorities import Authorities
from skerry_controller.broker import (
    BrokerMaterial,
    BrokerSettings,
    render_access_list,
    render_configuration,
    write_configuration,
)
from skerry_controller.errors import UsageError
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.requests import LARGEST_PACKET_BYTES
from skerry_protocol.topics import UP_LEAVES


@pytest.fixture
def settings(tmp_path: Path) -> BrokerSettings:
    return BrokerSettings(folder=tmp_path / "broker")


def lines(settings: BrokerSettings) -> list[str]:
    return render_configuration(settings, settings.folder).splitlines()


def test_clients_need_a_certificate_of_the_devices_authority(settings: BrokerSettings) -> None:
    text = lines(settings)
    for line in (
        "listener 8883",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        "tls_version tlsv1.2",
        f"cafile {settings.folder}/devices.crt",
    ):
        assert line in text
    assert len([line for line in text if line.startswith(("cafile", "capath", "listener"))]) == 2


def test_no_queue_drops_messages_by_their_number(settings: BrokerSettings) -> None:
    assert "max_queued_messages 0" in lines(settings)
    assert "max_queued_bytes 268435456" in lines(settings)


def test_nothing_rests_on_the_brokers_memory(settings: BrokerSettings) -> None:
    assert "persistence false" in lines(settings)


def test_a_packet_limit_is_written_only_when_there_is_one(settings: BrokerSettings) -> None:
    unlimited = lines(replace(settings, max_packet_size_bytes=0))
    assert not any(line.startswith(("max_packet_size", "message_size_limit")) for line in unlimited)
    assert f"max_packet_size {LARGEST_PACKET_BYTES}" in lines(settings)
    assert f"message_size_limit {LARGEST_PACKET_BYTES}" in lines(settings)
    assert "max_packet_size 131072" in lines(replace(settings, max_packet_size_bytes=131_072))


def test_the_bind_address_stands_beside_the_port(settings: BrokerSettings) -> None:
    assert "listener 1234 ::1" in lines(replace(settings, port=1234, bind_address="::1"))


@pytest.mark.parametrize(
    "change",
    [
        {"port": 0},
        {"port": 65_536},
        {"bind_address": "localhost"},
        {"bind_address": ""},
        {"bind_address": "0.0.0.0\nallow_anonymous true"},
        {"max_packet_size_bytes": 10},
    ],
)
def test_impossible_settings_are_refused(settings: BrokerSettings, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        render_configuration(replace(settings, **change), settings.folder)  # type: ignore[arg-type]  # table of changes


def test_a_folder_name_cannot_add_lines(settings: BrokerSettings) -> None:
    with pytest.raises(UsageError, match="folder"):
        render_configuration(settings, Path("/tmp/x\nallow_anonymous true"))  # noqa: S108 - only text


def test_a_device_writes_its_own_up_topics_and_reads_below_its_down(settings: BrokerSettings) -> None:
    assert render_access_list(replace(settings, topic_root="fleet/x")).split("\n") == [
        "user skerry-controller",
        "topic readwrite fleet/x/#",
        "",
        *(f"pattern write fleet/x/%u/up/{leaf}" for leaf in UP_LEAVES),
        "pattern read fleet/x/%u/down/#",
        "",
    ]


@pytest.mark.parametrize("root", ["#", "a/+", "", "a\npattern readwrite #"])
def test_a_topic_root_with_wildcards_is_refused(settings: BrokerSettings, root: str) -> None:
    with pytest.raises(NameSyntaxError):
        render_access_list(replace(settings, topic_root=root))


def test_written_files_are_private_without_an_account(settings: BrokerSettings, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authorities = Authorities.create(tmp_path / "authorities", now=now)
    server = authorities.issue_server_certificate(["127.0.0.1"], now=now)
    material = BrokerMaterial(authorities.devices.certificate_pem, server)
    path = write_configuration(settings, material, settings.folder, None)
    assert path.read_text() == render_configuration(settings, settings.folder)
    assert (settings.folder / "server.key").read_bytes() == server.key_pem
    assert {stat.S_IMODE(file.stat().st_mode) for file in settings.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(settings.folder.stat().st_mode) == 0o700


def test_a_revocation_list_is_named_in_the_configuration(settings: BrokerSettings, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authorities = Authorities.create(tmp_path / "authorities", now=now)
    server = authorities.issue_server_certificate(["127.0.0.1"], now=now)
    material = BrokerMaterial(authorities.devices.certificate_pem, server, revocations_pem=b"list")
    path = write_configuration(settings, material, settings.folder, None)
    assert f"crlfile {settings.folder}/devices.crl" in path.read_text()
    assert (settings.folder / "devices.crl").read_bytes() == b"list"
