import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skerry_controller.device_api import Capabilities, CapabilityRefusedError
from skerry_controller.errors import WorldError

NOW = datetime(2026, 11, 3, tzinfo=UTC)
BLOB, OTHER = "a" * 64, "b" * 64
DEVICE, STRANGER = "d-abcdefgh23456727", "d-zzzzzzzzzzzzzzzz"
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def capabilities() -> Capabilities:
    return Capabilities(b"k" * 32)


def test_a_capability_opens_its_blob_for_its_time(capabilities: Capabilities) -> None:
    made = capabilities.make(BLOB, DEVICE, LATER)
    assert capabilities.check(made, BLOB, NOW) == DEVICE
    with pytest.raises(CapabilityRefusedError, match="expired"):
        capabilities.check(made, BLOB, LATER)


def test_nothing_in_it_can_be_changed(capabilities: Capabilities) -> None:
    made = capabilities.make(BLOB, DEVICE, LATER)
    version, device, expiry, mac = made.split(".")
    for changed in (
        f"{version}.{STRANGER}.{expiry}.{mac}",
        f"{version}.{device}.{int(expiry) + 1}.{mac}",
        f"{version}.{device}.{expiry}.{mac[:-1]}",
        f"{version}.{device}.{expiry}.",
    ):
        with pytest.raises(CapabilityRefusedError):
            capabilities.check(changed, BLOB, NOW)
    with pytest.raises(CapabilityRefusedError):
        capabilities.check(made, OTHER, NOW)
    with pytest.raises(CapabilityRefusedError):
        Capabilities(b"x" * 32).check(made, BLOB, NOW)


@pytest.mark.parametrize(
    "text", ["", "v1", "v1.a.b.c", "v2.d-abcdefgh23456727.1.x", "v1.é.\u0661.x", "." * 1000]
)
def test_nonsense_is_refused(capabilities: Capabilities, text: str) -> None:
    with pytest.raises(CapabilityRefusedError):
        capabilities.check(text, BLOB, NOW)


def test_a_blob_name_that_is_no_hash_is_refused(capabilities: Capabilities) -> None:
    with pytest.raises(CapabilityRefusedError):
        capabilities.check(capabilities.make(BLOB, DEVICE, LATER), "../secret", NOW)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    made = Capabilities.open(tmp_path).make(BLOB, DEVICE, LATER)
    assert Capabilities.open(tmp_path).check(made, BLOB, NOW) == DEVICE
    assert stat.S_IMODE((tmp_path / "capability.key").stat().st_mode) == 0o600


def test_a_damaged_key_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "capability.key").write_bytes(b"short")
    with pytest.raises(WorldError, match="damaged"):
        Capabilities.open(tmp_path)
