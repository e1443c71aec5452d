import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.configs import ConfigFollower, ConfigLimits, Settings, settings_for_start
from skerry_agent.errors import UsageError, WorldError
from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_protocol.config_bundle import ConfigBundle, encode_config_bundle
from skerry_protocol.desired import TargetRef
from skerry_protocol.reported import ConfigReport
from support.registry import RecordedEvents
from support.updates import FakeClock, FakeTargets

KNOWN = {"telemetry": {"sample_interval_s"}, "updates": {"retry_max_s"}, "runtime": {"threads"}}


def validate(settings: Mapping[str, Mapping[str, Any]]) -> None:
    for section, values in settings.items():
        for key, value in values.items():
            if key not in KNOWN.get(section, ()):
                raise UsageError(
                    f"unknown setting {section}.{key}; did you mean {next(iter(KNOWN[section]))!r}?"
                )
            if not isinstance(value, int | float):
                raise UsageError(f"{section}.{key} must be a number")
    if settings.get("telemetry") and settings.get("runtime"):
        raise UsageError("telemetry and runtime do not go together")


class Agent:
    """Takes settings; ``answers`` decide on its health, then it is healthy."""

    def __init__(self) -> None:
        self.applied: list[Settings] = []
        self.answers: list[bool | Exception] = []
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def apply(self, settings: Settings) -> bool:
        self.applied.append(settings)
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class Device:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.targets = FakeTargets()
        self.agent = Agent()
        self.events = RecordedEvents()
        self.clock = FakeClock()
        self.limits = ConfigLimits()
        self.starting: Settings = {}

    def start(self) -> None:
        self.starting = settings_for_start(self.folder)
        self.follower = ConfigFollower(
            self.folder,
            targets=self.targets,
            target=self.agent,
            validate=validate,
            allowed_sections=KNOWN,
            events=self.events,
            clock=self.clock,
            limits=self.limits,
            uniform=lambda: 1.0,
        )
        self.task = asyncio.create_task(self.follower.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})

    def publish(
        self, settings: dict[str, dict[str, Any]], ref: str = "base@1", path: str | None = None
    ) -> TargetRef:
        name, _, version = ref.partition("@")
        data = encode_config_bundle(ConfigBundle(name=name, version=version, settings=settings))
        target = TargetRef(
            path=path or f"configs/{name}/{version}.json",
            sha256=hashlib.sha256(data).hexdigest(),
            length=len(data),
        )
        self.targets.held[target.path] = data
        return target

    async def follow(self, *targets: TargetRef) -> list[ConfigReport]:
        self.follower.follow(targets, {})
        return await self.until(lambda reports: all(r.applied or r.reason for r in reports))

    async def until(self, condition: Any) -> list[ConfigReport]:
        async with asyncio.timeout(10):
            while self.follower._state.desired != self.follower._wanted.targets or not condition(  # type: ignore[union-attr]
                self.follower.reports()
            ):
                await self.follower.changed.wait()
                self.follower.changed.clear()
        return self.follower.reports()


def codes(reports: Sequence[ConfigReport]) -> list[str | None]:
    return [report.reason.code if report.reason else None for report in reports]


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    made = Device(tmp_path / "settings.d")
    yield made
    await made.stop()


async def _applied(device: Device, count: int) -> None:
    async with asyncio.timeout(10):
        while len(device.agent.applied) < count:
            await device.agent.asked.wait()
            device.agent.asked.clear()


async def test_a_bundle_is_applied_reported_and_in_force_after_a_restart(device: Device) -> None:
    device.start()
    target = device.publish({"telemetry": {"sample_interval_s": 5}})
    reports = await device.follow(target)
    assert reports == [ConfigReport(target.path, target.sha256, applied=True)]
    assert device.agent.applied == [{"telemetry": {"sample_interval_s": 5}}]
    assert device.events.names() == ["config_applied"]
    assert (device.folder / f"{target.sha256}.json").exists()
    await device.stop()
    device.start()
    assert device.starting == {"telemetry": {"sample_interval_s": 5}}
    await device.follow(target)
    assert len(device.agent.applied) == 1


async def test_later_bundles_win_key_by_key(device: Device) -> None:
    device.start()
    first = device.publish({"telemetry": {"sample_interval_s": 5}, "updates": {"retry_max_s": 9}})
    second = device.publish({"telemetry": {"sample_interval_s": 1}}, "more@1")
    await device.follow(first, second)
    assert device.agent.applied == [{"telemetry": {"sample_interval_s": 1}, "updates": {"retry_max_s": 9}}]
    await device.follow()
    assert device.agent.applied[-1] == {}


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"sync": {"keepalive_s": 1}}, "section_forbidden", "a bundle may set"),
        ({"identity": {"key": "x"}}, "section_forbidden", "identity"),
        ({"telemetry": {"sample_intervall": 1}}, "settings_invalid", "did you mean 'sample_interval_s'"),
        ({"telemetry": {"sample_interval_s": "soon"}}, "settings_invalid", "must be a number"),
    ],
)
async def test_a_wrong_bundle_is_refused_and_the_good_ones_are_applied(
    device: Device, settings: dict[str, dict[str, Any]], code: str, message: str
) -> None:
    device.start()
    good = device.publish({"updates": {"retry_max_s": 9}})
    reports = await device.follow(device.publish(settings, "wrong@1"), good)
    assert codes(reports) == [code, None]
    assert reports[0].reason is not None
    assert message in reports[0].reason.message
    assert [r.applied for r in reports] == [False, True]
    assert device.agent.applied == [{"updates": {"retry_max_s": 9}}]
    assert device.events.of("config_refused")[0]["code"] == code


async def test_bundles_that_do_not_go_together_change_nothing(device: Device) -> None:
    device.start()
    one = device.publish({"telemetry": {"sample_interval_s": 5}})
    await device.follow(one)
    two = device.publish({"runtime": {"threads": 2}}, "more@1")
    reports = await device.follow(one, two)
    assert codes(reports) == ["settings_invalid", "settings_invalid"]
    assert len(device.agent.applied) == 1


async def test_a_bundle_under_another_name_or_in_no_form_is_refused(device: Device) -> None:
    device.start()
    named = device.publish({}, "base@1", path="configs/other/1.json")
    form = device.publish({}, "more@1")
    device.targets.held[form.path] = b"{"
    assert codes(await device.follow(named, form)) == ["bundle_mismatch", "bundle_malformed"]


async def test_a_bundle_that_was_not_signed_is_refused(device: Device) -> None:
    device.start()
    device.targets.fail = [TargetRefusedError("target_unknown", "nobody signed it")]
    assert codes(await device.follow(device.publish({}))) == ["target_unknown"]


async def test_a_bundle_that_is_not_visible_yet_is_waited_for(device: Device) -> None:
    device.start()
    device.targets.fail = [TargetNotYetVisibleError("not yet"), WorldError("no network")]
    reports = await device.follow(device.publish({"updates": {"retry_max_s": 9}}))
    assert reports[0].applied
    assert device.clock.pauses == [2.0, 4.0]


@pytest.mark.parametrize("answer", [False, WorldError("no memory for that")])
async def test_settings_with_which_the_agent_is_not_healthy_are_taken_back(
    device: Device, answer: bool | Exception
) -> None:
    device.start()
    good = device.publish({"updates": {"retry_max_s": 9}})
    await device.follow(good)
    device.agent.answers = [answer]
    bad = device.publish({"updates": {"retry_max_s": 1}}, "base@2")
    reports = await device.follow(bad)
    assert codes(reports) == ["unhealthy"]
    await _applied(device, 3)
    assert device.agent.applied[-1] == {"updates": {"retry_max_s": 9}}
    assert settings_for_start(device.folder) == {"updates": {"retry_max_s": 9}}
    # Not tried again before something else is wanted.
    device.follower.follow([bad], {})
    reports = await device.follow(bad, good)
    assert [r.applied for r in reports] == [True, True]


async def test_health_has_a_deadline(device: Device) -> None:
    device.limits = ConfigLimits(health_deadline_s=0.01)
    device.agent.hold = asyncio.Event()
    device.start()
    reports = await device.follow(device.publish({"updates": {"retry_max_s": 1}}))
    assert codes(reports) == ["unhealthy"]
    assert reports[0].reason is not None
    assert "within 0.01 s" in reports[0].reason.message


async def test_a_restart_in_the_trial_goes_on_with_it(device: Device) -> None:
    device.agent.hold = asyncio.Event()
    device.start()
    target = device.publish({"updates": {"retry_max_s": 1}})
    device.follower.follow([target], {})
    await _applied(device, 1)
    assert not device.follower.reports()[0].applied
    await device.stop()
    device.agent.hold = None
    device.start()
    assert device.starting == {"updates": {"retry_max_s": 1}}
    assert (await device.follow(target))[0].applied


async def test_settings_that_end_the_agent_again_and_again_are_given_up(device: Device) -> None:
    device.agent.hold = asyncio.Event()
    device.start()
    target = device.publish({"updates": {"retry_max_s": 1}})
    device.follower.follow([target], {})
    await _applied(device, 1)
    for _ in range(2):
        await device.stop()
        device.start()
        assert device.starting == {"updates": {"retry_max_s": 1}}
    await device.stop()
    device.agent.hold = None
    device.start()
    assert device.starting == {}
    assert codes(await device.follow(target)) == ["crash_loop"]
    await device.until(lambda _: device.events.codes(["config_refused"]) == ["crash_loop"])


async def test_a_damaged_file_brings_back_what_was_before(device: Device) -> None:
    device.start()
    await device.follow(device.publish({"updates": {"retry_max_s": 9}}))
    await device.follow(device.publish({"updates": {"retry_max_s": 8}}, "base@2"))
    await device.stop()
    current = device.folder / "current.json"
    current.write_bytes(current.read_bytes()[:20])
    device.start()
    assert device.starting == {"updates": {"retry_max_s": 9}}


async def test_bundles_of_former_days_are_tidied_away(device: Device) -> None:
    device.start()
    for number in range(4):
        await device.follow(device.publish({"updates": {"retry_max_s": number}}, f"base@{number}"))
    kept = [path for path in device.folder.iterdir() if len(path.stem) == 64]
    assert len(kept) == 2
