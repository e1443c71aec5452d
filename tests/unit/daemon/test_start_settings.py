from collections.abc import Mapping
from typing import Any

import pytest

from skerry_agent.daemon.run import usable_settings
from skerry_agent.errors import UsageError
from skerry_agent.settings import AgentSettings, LogSettings

Bundle = Mapping[str, Mapping[str, Any]]


def load(bundle: Bundle) -> AgentSettings:
    if "gone" in bundle:
        raise UsageError("unknown setting [gone]")
    return AgentSettings(log=LogSettings(level="debug")) if bundle else AgentSettings()


def test_fleet_settings_that_an_upgrade_made_invalid_keep_no_device_from_starting() -> None:
    assert usable_settings(load, {"gone": {"key": 1}}).log.level == "info"


def test_good_fleet_settings_are_taken() -> None:
    assert usable_settings(load, {"log": {"level": "debug"}}).log.level == "debug"


def test_what_is_wrong_with_the_devices_own_settings_is_told() -> None:
    def broken(_bundle: Bundle) -> AgentSettings:
        raise UsageError("agent.toml: unknown setting")

    for bundle in ({}, {"log": {"level": "debug"}}):
        with pytest.raises(UsageError, match=r"agent\.toml"):
            usable_settings(broken, bundle)
