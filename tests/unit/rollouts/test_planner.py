from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from skerry_controller.rollouts.planner import (
    Action,
    AdvanceWave,
    Assign,
    DeviceView,
    FinishWave,
    Pause,
    ReopenWave,
    RolloutPlan,
    Succeed,
    order,
    plan,
    standing,
)
from skerry_controller.rollouts.shares import Share, parse_waves
from skerry_protocol.reported import Reason, RunningAdapter, RunningVersion, SlotReport, SlotState

PATH, SHA = "models/m/2.json", "b" * 64
Outcome = Literal["commits", "rolls_back", "refuses", "stays_offline"]


def rollout(waves: str = "1,50%,100%", max_failures: str = "0") -> RolloutPlan:
    return RolloutPlan("r-1", PATH, SHA, parse_waves(waves), Share.parse(max_failures), soak_s=0)


def slot(
    state: SlotState, attempt: int = 1, path: str = PATH, sha: str = SHA, serves: str = SHA
) -> SlotReport:
    reason = Reason(code="trial_failed", message="no answer") if state in ("rolled_back", "refused") else None
    active = RunningVersion(ref="m@2", target_sha256=serves, file_sha256="f" * 64, signed=True)
    return SlotReport(
        state=state, active=active, target_path=path, target_sha256=sha, attempt=attempt, reason=reason
    )


def views(count: int) -> list[DeviceView]:
    return [DeviceView(f"d-{number}") for number in range(count)]


@dataclass
class Fleet:
    """Devices that obey, and a controller that applies what the planner says."""

    rollout: RolloutPlan
    devices: dict[str, DeviceView]
    outcome: Callable[[str], Outcome]
    now: float = 1000.0
    window_open: bool = True
    story: list[str] = field(default_factory=list)

    def step(self) -> Action | None:
        action = plan(self.rollout, list(self.devices.values()), now=self.now, window_open=self.window_open)
        match action:
            case Assign(devices):
                for device in devices:
                    self.devices[device] = replace(self.devices[device], attempt=1)
            case FinishWave():
                self.rollout = replace(self.rollout, wave_done_at=self.now)
            case ReopenWave():
                self.rollout = replace(self.rollout, wave_done_at=None)
            case AdvanceWave(wave):
                self.rollout = replace(self.rollout, wave=wave, wave_done_at=None)
            case Pause():
                self.rollout = replace(self.rollout, state="paused")
            case Succeed():
                self.rollout = replace(self.rollout, state="succeeded")
            case None:
                pass
        return action

    def report(self) -> None:
        states: dict[Outcome, SlotState] = {
            "commits": "committed",
            "rolls_back": "rolled_back",
            "refuses": "refused",
        }
        for device, view in self.devices.items():
            state = states.get(self.outcome(device))
            if view.attempt is not None and state is not None:
                self.devices[device] = replace(view, slot=slot(state))

    def run(self, steps: int = 200) -> None:
        for _ in range(steps):
            action = self.step()
            if action is not None:
                count = f" {len(action.devices)}" if isinstance(action, Assign) else ""
                self.story.append(type(action).__name__ + count)
                continue
            before = dict(self.devices)
            self.report()
            if before == self.devices:
                return


def fleet(count: int, outcome: Callable[[str], Outcome], **settings: str) -> Fleet:
    return Fleet(rollout(**settings), {view.device: view for view in views(count)}, outcome)


def commits(_device: str) -> Outcome:
    return "commits"


STORIES = [
    ("all commit, wave by wave", 4, commits, {}, "succeeded",
     "Assign 1, FinishWave, AdvanceWave, Assign 1, FinishWave, AdvanceWave, Assign 2, FinishWave, Succeed"),
    ("waves that add nobody are skipped", 1, commits, {}, "succeeded", "Assign 1, FinishWave, Succeed"),
    ("no device", 0, commits, {}, "succeeded", "Succeed"),
    ("a bad version reaches one device", 4, lambda _: "rolls_back", {}, "paused", "Assign 1, Pause"),
    ("refusals count as failures", 4, lambda _: "refuses", {}, "paused", "Assign 1, Pause"),
    ("offline devices are waited for", 4, lambda _: "stays_offline", {}, "running", "Assign 1"),
    ("never success when nothing committed", 3, lambda _: "rolls_back", {"max_failures": "100%"}, "paused",
     "Assign 1, FinishWave, AdvanceWave, Assign 1, FinishWave, AdvanceWave, Assign 1, FinishWave, Pause"),
    ("all at once", 4, commits, {"waves": "100%"}, "succeeded", "Assign 4, FinishWave, Succeed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "outcome", "settings", "end", "story"),
    [story[1:] for story in STORIES],
    ids=[story[0] for story in STORIES],
)
def test_a_rollout_takes_exactly_these_steps(
    count: int, outcome: Callable[[str], Outcome], settings: dict[str, str], end: str, story: str
) -> None:
    running = fleet(count, outcome, **settings)
    running.run()
    assert (running.rollout.state, ", ".join(running.story)) == (end, story)


NOTHING_SERVES = SlotReport(state="committed", target_path=PATH, target_sha256=SHA, attempt=1)
NOT_DONE = [
    pytest.param(None, id="no-report"),
    pytest.param(slot("trial"), id="in-trial"),
    pytest.param(slot("committed", attempt=2), id="another-attempt"),
    pytest.param(slot("committed", path="models/m/1.json"), id="another-target"),
    pytest.param(slot("committed", sha="c" * 64), id="another-hash"),
    pytest.param(slot("committed", serves="c" * 64), id="something-else-serves"),
    pytest.param(NOTHING_SERVES, id="nothing-serves"),
    pytest.param(slot("rolled_back", attempt=3), id="failure-of-another-attempt"),
]


@pytest.mark.parametrize("report", NOT_DONE)
def test_only_a_commit_of_exactly_this_target_and_attempt_counts(report: SlotReport | None) -> None:
    assert standing(rollout(), DeviceView("d-1", attempt=1, slot=report)) == "pending"


def test_an_unassigned_device_counts_for_nothing_even_when_it_runs_the_version() -> None:
    assert standing(rollout(), DeviceView("d-1", attempt=None, slot=slot("committed"))) == "unassigned"


def test_soak_time_holds_the_next_wave_back() -> None:
    running = fleet(2, commits, waves="1,100%")
    running.rollout = replace(running.rollout, soak_s=60)
    running.run()
    assert running.story == ["Assign 1", "FinishWave"]
    running.now += 59.9
    assert running.step() is None
    running.now += 0.1
    assert running.step() == AdvanceWave(1)


def test_a_failure_during_the_soak_pauses() -> None:
    running = fleet(2, commits, waves="1,100%")
    running.rollout = replace(running.rollout, soak_s=60)
    running.run()
    (device,) = [view for view in running.devices.values() if view.attempt]
    running.devices[device.device] = replace(device, slot=slot("rolled_back"))
    action = running.step()
    assert isinstance(action, Pause)
    assert device.device in action.reason
    assert "trial_failed: no answer" in action.reason


def test_a_device_that_joins_during_the_last_soak_is_assigned_and_waited_for() -> None:
    running = fleet(1, commits, waves="100%")
    running.rollout = replace(running.rollout, soak_s=60)
    running.run()
    running.devices["d-new"] = DeviceView("d-new")
    assert running.step() == Assign(("d-new",))
    assert running.step() == ReopenWave()
    running.now += 100
    assert running.step() is None
    running.run()
    assert running.rollout.wave_done_at == running.now


def test_outside_the_window_nobody_is_assigned_and_nothing_succeeds() -> None:
    running = fleet(2, commits)
    running.window_open = False
    running.run()
    assert running.story == []


def test_failures_within_the_allowance_do_not_stop_it_and_are_named_at_the_end() -> None:
    bad = order("r-1", views(10))[3].device
    running = fleet(
        10, lambda device: "rolls_back" if device == bad else "commits", max_failures="20%", waves="100%"
    )
    action: Action | None = None
    while not isinstance(action, Succeed):
        action = running.step()
        running.report()
    assert action.note.startswith("9 of 10 devices committed")
    assert bad in action.note


@pytest.mark.parametrize("state", ["paused", "succeeded", "aborted"])
def test_a_rollout_that_does_not_run_does_nothing(state: Literal["paused", "succeeded", "aborted"]) -> None:
    assert plan(replace(rollout(), state=state), views(3), now=0, window_open=True) is None


outcomes: st.SearchStrategy[list[Outcome]] = st.lists(
    st.sampled_from(["commits", "rolls_back", "refuses", "stays_offline"]), max_size=25
)
settings = st.fixed_dictionaries(
    {
        "waves": st.sampled_from(["100%", "1,100%", "1,10%,100%", "20%,3,50%,100%"]),
        "max_failures": st.sampled_from(["0", "1", "5%", "50%", "100%"]),
    }
)


@given(outcomes, settings)
def test_success_is_always_measured(behaviour: list[Outcome], chosen: dict[str, str]) -> None:
    running = fleet(len(behaviour), lambda device: behaviour[int(device[2:])], **chosen)
    running.run()
    standings = [standing(running.rollout, view) for view in running.devices.values()]
    allowed = running.rollout.max_failures.at_most(len(behaviour))
    if running.rollout.state == "succeeded":
        assert set(standings) <= {"committed", "failed"}
        assert standings.count("failed") <= allowed
        assert not behaviour or "committed" in standings
    if set(behaviour) == {"commits"}:
        assert running.rollout.state == "succeeded"


@given(outcomes, settings, st.randoms(use_true_random=False))
def test_a_step_never_assigns_more_than_its_wave_and_ignores_the_order_of_devices(
    behaviour: list[Outcome], chosen: dict[str, str], random: Random
) -> None:
    running = fleet(len(behaviour), lambda device: behaviour[int(device[2:])], **chosen)
    for _ in range(60):
        shuffled = list(running.devices.values())
        random.shuffle(shuffled)
        expected = plan(running.rollout, shuffled, now=running.now, window_open=True)
        assert running.step() == expected
        assigned = sum(view.attempt is not None for view in running.devices.values())
        waves = running.rollout.waves[: running.rollout.wave + 1]
        assert assigned <= max(wave.at_least(len(behaviour)) for wave in waves)
        if expected is None:
            running.report()


def test_a_device_counts_only_when_the_very_pair_serves() -> None:
    german = "d" * 64
    pair = replace(rollout(), adapters=(german,))
    plain = slot("committed")
    told = changed(plain, adapters=(german,))
    assert plain.active is not None
    adapter = RunningAdapter(ref="german@1", target_sha256=german, file_sha256="e" * 64)
    serving = changed(told, active=changed(plain.active, adapters=(adapter,)))

    def stands(plan: RolloutPlan, report: SlotReport) -> str:
        return standing(plan, DeviceView("d-1", 1, report))

    assert stands(pair, plain) == "pending"
    assert stands(pair, told) == "pending"
    assert stands(pair, serving) == "committed"
    assert stands(rollout(), serving) == "pending"
