"""A rollout as people and programs see it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from skerry_controller.database import RolloutRow
from skerry_controller.rollouts.loading import LoadedRollout
from skerry_controller.rollouts.planner import ACTIVE_STATES, DeviceView, order, standing
from skerry_controller.rollouts.windows import parse_window
from skerry_protocol.names import parse_target_path


@dataclass(frozen=True, slots=True)
class DeviceProgress:
    """One device in a rollout.

    Attributes:
        device: Its id.
        standing: ``unassigned``, ``pending``, ``committed`` or ``failed``; ``moved on`` when the rollout is
            over and the device's report is about something else.
        state: The state that the device reports for this target and attempt, if it does.
        attempt: The attempt that the rollout assigned.
        bytes_done: Verified bytes of the download.
        bytes_total: Its length.
        reason_code: Why it failed.
        reason: The same for people.
    """

    device: str
    standing: str
    state: str | None
    attempt: int | None
    bytes_done: int
    bytes_total: int
    reason_code: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class RolloutView:
    """One rollout; ``wave`` counts from 1. ``counts`` is standing -> number of devices."""

    id: str
    channel: str
    to: str
    previous: str | None
    adapters: list[str]
    previous_adapters: list[str]
    state: str
    reason: str | None
    wave: int
    waves: list[str]
    max_failures: str
    soak_s: float
    soak_until: datetime | None
    window: str | None
    window_open: bool
    counts: dict[str, int]
    devices: list[DeviceProgress]
    created_at: datetime
    finished_at: datetime | None


def rollout_view(row: RolloutRow, loaded: LoadedRollout, now: datetime) -> RolloutView:
    """The view of a rollout."""
    devices = [_progress(loaded, view) for view in order(row.id, loaded.devices)]
    counts: dict[str, int] = {"devices": len(devices)}
    for progress in devices:
        counts[progress.standing] = counts.get(progress.standing, 0) + 1
    soaking = row.state == "running" and row.wave_done_at is not None
    return RolloutView(
        id=row.id,
        channel=row.channel,
        to=_ref(row.to_target_path),
        previous=None if row.from_target_path is None else _ref(row.from_target_path),
        adapters=[_ref(path) for path in row.to_adapter_paths],
        previous_adapters=[_ref(path) for path in row.from_adapter_paths],
        state=row.state,
        reason=row.reason,
        wave=row.wave + 1,
        waves=list(row.waves),
        max_failures=row.max_failures,
        soak_s=row.soak_s,
        soak_until=row.wave_done_at + timedelta(seconds=row.soak_s) if soaking and row.wave_done_at else None,
        window=row.window,
        window_open=is_window_open(row, now.timestamp()),
        counts=counts,
        devices=devices,
        created_at=row.created_at.astimezone(UTC),
        finished_at=row.finished_at,
    )


def is_window_open(row: RolloutRow, now: float) -> bool:
    """Whether devices may be assigned now."""
    return row.window is None or parse_window(row.window).is_open(now)


def _progress(loaded: LoadedRollout, view: DeviceView) -> DeviceProgress:
    plan, slot = loaded.plan, view.slot
    where: str = standing(plan, view)
    if plan.state not in ACTIVE_STATES and where == "pending":
        where = "moved on"
    mine = slot is not None and slot.target_path == plan.target_path and slot.attempt == view.attempt
    mine = mine and slot is not None and slot.adapters == plan.adapters
    if slot is None or not mine:
        return DeviceProgress(view.device, where, None, view.attempt, 0, 0, None, None)
    return DeviceProgress(
        device=view.device,
        standing=where,
        state=slot.state,
        attempt=view.attempt,
        bytes_done=slot.bytes_done,
        bytes_total=slot.bytes_total,
        reason_code=None if slot.reason is None else slot.reason.code,
        reason=None if slot.reason is None else slot.reason.message,
    )


def _ref(path: str) -> str:
    return str(parse_target_path(path)[1])
