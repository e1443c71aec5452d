"""What tests and the demo wait for, as the controller shows it."""

from typing import Any

from support.fleet import Controller, Device
from support.processes import wait_for


def slot_report(controller: Controller, device: Device, channel: str) -> dict[str, Any]:
    """A slot of a device's last report; empty when there is none yet."""
    reported = controller.json("device", "show", device.id)["reported"] or {}
    slot: dict[str, Any] = reported.get("slots", {}).get(channel, {})
    return slot


def wait_for_slot(
    controller: Controller, device: Device, channel: str, state: str, *, ref: str = "", deadline_s: float = 60
) -> dict[str, Any]:
    """Wait until a device reports a slot in a state, with ``ref`` active when it is given."""

    def look() -> dict[str, Any] | None:
        slot = slot_report(controller, device, channel)
        active = (slot.get("active") or {}).get("ref", "")
        return slot if slot.get("state") == state and (not ref or active == ref) else None

    return wait_for(look, f"{device.name} does not report {channel} as {state} {ref}", deadline_s=deadline_s)


def wait_for_event(
    controller: Controller, device: Device, name: str, *, code: str | None = None, deadline_s: float = 60
) -> dict[str, Any]:
    """Wait until the controller has an event of a device."""

    def look() -> dict[str, Any] | None:
        events: list[dict[str, Any]] = controller.json("device", "logs", device.id, "--since", "1h")
        return next(
            (e for e in events if e["name"] == name and (code is None or e["data"].get("code") == code)), None
        )

    return wait_for(
        look, f"the controller has no {name} {code or ''} of {device.name}", deadline_s=deadline_s
    )


def finish_rollout(controller: Controller, channel: str, ref: str, *options: str) -> dict[str, Any]:
    """Roll a version out and wait for the rollout's end."""
    created = controller.json(
        "rollout", "create", channel, "--to", ref, "--waves", "100%", "--soak", "0s", *options
    )

    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = controller.json("rollout", "show", created["id"])
        return shown if shown["state"] != "running" else None

    return wait_for(look, f"the rollout to {ref} does not end", deadline_s=90)
