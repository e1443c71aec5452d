"""The units start what they should, notify, and are locked up well enough."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "systemd"
UNITS = ("skerry-agent.service", "skerry-controller.service")
ANALYZE = shutil.which("systemd-analyze")

MAX_EXPOSURE_TENTHS = 30

LIFE = {
    "Type": "notify",
    "NotifyAccess": "main",
    "WatchdogSec": "60s",
    "Restart": "always",
    "OOMPolicy": "continue",
    "KillMode": "mixed",
}
SANDBOX = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectProc": "invisible",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectClock": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
}


def directives(unit: str) -> Iterator[tuple[str, str]]:
    for line in (FOLDER / unit).read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            yield match[1], match[2]


def values(unit: str, name: str) -> list[str]:
    return [value for key, value in directives(unit) if key == name]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("name", "value"), [*LIFE.items(), *SANDBOX.items()])
def test_has_what_its_life_and_its_sandbox_rest_on(unit: str, name: str, value: str) -> None:
    assert values(unit, name) == [value]


@pytest.mark.parametrize("unit", UNITS)
def test_says_each_thing_once_but_for_the_system_call_filter(unit: str) -> None:
    names = [name for name, _ in directives(unit)]
    assert max(names.count(name) for name in set(names) if name != "SystemCallFilter") == 1
    assert values(unit, "SystemCallFilter") == ["@system-service", "~@privileged @resources"]


@pytest.mark.parametrize("unit", UNITS)
def test_keeps_its_state_where_the_defaults_of_the_settings_say(unit: str) -> None:
    name = unit.removesuffix(".service")
    assert values(unit, "StateDirectory") == [name]
    assert values(unit, "User") == [name]


def test_the_agent_sees_the_memory_of_the_machine() -> None:
    assert values("skerry-agent.service", "ProcSubset") == ["all"]


def test_users_and_groups_of_the_units_are_made() -> None:
    made = {
        tuple(line.split()[:2])
        for line in (FOLDER / "skerry.sysusers.conf").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    for unit in UNITS:
        (user,), (group,) = values(unit, "User"), values(unit, "Group")
        assert ("u", user) in made
        assert ("g", group) in made or ("u", group) in made


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_with_it(unit: str, tmp_path: Path) -> None:
    """Where systemd-analyze is missing, the tests above hold what it would look at."""
    text = (FOLDER / unit).read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert program is not None
    assert program[1].startswith("/opt/skerry/bin/")
    if ANALYZE is None:
        return
    # The program is not installed where the unit says, and systemd-analyze looks for it.
    copy = tmp_path / unit
    copy.write_text(text.replace(program[1], sys.executable), encoding="utf-8")
    verified = subprocess.run(
        [ANALYZE, "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if unit in line]) == (0, [])
    secured = subprocess.run(
        [ANALYZE, "security", "--offline=true", f"--threshold={MAX_EXPOSURE_TENTHS}", "--no-pager", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert secured.returncode == 0, secured.stdout[-300:]
