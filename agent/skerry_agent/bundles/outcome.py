"""Whether the update that a bundle brought has come to an end, from reports. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from skerry_protocol.desired import DesiredState
from skerry_protocol.reported import TERMINAL_STATES, ConfigReport, Reason, SlotReport

Outcome = Literal["committed", "refused", "rolled_back", "waiting", "under_way"]

WAITS_FOR_ITS_TIME = frozenset({"outside_window", "outside_download_window"})
"""Reasons that end by themselves, without the stick and without a network."""


def slot_outcome(desired: DesiredState, channel: str, report: SlotReport | None) -> Outcome:
    """Where one slot stands on the way to what is desired."""
    wanted = desired.slots[channel]
    if report is None:
        return "under_way"
    adapters = tuple(adapter.sha256 for adapter in wanted.adapters)
    about = (report.target_sha256, report.adapters) == (wanted.target.sha256, adapters)
    about = about and report.attempt == wanted.attempt
    if not about or report.state not in TERMINAL_STATES:
        waits = report.reason is not None and report.reason.code in WAITS_FOR_ITS_TIME
        return "waiting" if about and waits else "under_way"
    match report.state:
        case "committed":
            return "committed"
        case "rolled_back":
            return "rolled_back"
        case "refused":
            return "refused"
        case _:
            return "under_way"


def outcome_of(
    desired: DesiredState, slots: Mapping[str, SlotReport], configs: Sequence[ConfigReport]
) -> tuple[Outcome, Reason | None]:
    """How a whole desired state stands, and the first reason for it that is not good.

    While anything is under way, all of it is.
    """
    found: list[tuple[Outcome, Reason | None]] = []
    for channel in desired.slots:
        report = slots.get(channel)
        found.append((slot_outcome(desired, channel, report), report.reason if report is not None else None))
    for target in desired.configs:
        config = next((each for each in configs if each.target_sha256 == target.sha256), None)
        if config is not None and config.applied:
            found.append(("committed", None))
        elif config is not None and config.reason is not None:
            found.append(("refused", config.reason))
        else:
            found.append(("under_way", None))
    order: Sequence[Outcome] = ("under_way", "refused", "rolled_back", "waiting")
    for outcome in order:
        for each, reason in found:
            if each == outcome:
                return outcome, reason
    return "committed", None


def slot_entries(reports: Mapping[str, SlotReport]) -> dict[str, dict[str, Any]]:
    """The slots as a command shows them."""
    return {
        channel: {
            "state": report.state,
            "active": None if report.active is None else report.active.text,
            "target": report.target_path,
            "bytes_done": report.bytes_done,
            "bytes_total": report.bytes_total,
            "reason": None if report.reason is None else msgspec.to_builtins(report.reason),
        }
        for channel, report in reports.items()
    }
