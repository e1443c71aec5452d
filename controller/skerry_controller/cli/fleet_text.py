"""How devices and rollouts read in a terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

from skerry_controller.cli.durations import parse_duration
from skerry_controller.cli.output import format_age, format_bytes, format_labels, print_line, print_table


def since_text(since: str) -> str:
    """The moment that long ago, as the API takes it.

    Raises:
        NameSyntaxError: That is no duration.
    """
    return (datetime.now(UTC) - timedelta(seconds=parse_duration(since))).isoformat()


def ms_text(at_ms: int) -> str:
    """Unix milliseconds as local time."""
    try:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # a device's clock may say anything
        return str(at_ms)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def fields_text(fields: dict[str, Any]) -> str:
    """``key=value`` of an event's fields."""
    return " ".join(f"{key}={value}" for key, value in fields.items()) or "-"


def slot_summary(slot: dict[str, Any]) -> str:
    """One slot in a few words: ``assistant/stable m@1 → m@2 downloading 40%``."""
    running = slot["active"] or "nothing"
    if slot["desired"] is not None and slot["desired"] != slot["active"]:
        return f"{slot['channel']} {running} → {slot['desired']} {progress_text(slot)}"
    return f"{slot['channel']} {running} {progress_text(slot)}"


def progress_text(slot: dict[str, Any]) -> str:
    """The state, and how far a download is."""
    state = slot["state"] or "waiting"
    if state == "downloading" and slot["bytes_total"]:
        done = f"{state} {100 * slot['bytes_done'] // slot['bytes_total']}%"
        return done if not slot.get("source") else f"{done} at {format_bytes(slot['bytes_per_s'])}/s"
    return str(state)


def print_device(device: dict[str, Any], records: dict[str, Any]) -> None:
    """Everything about one device."""
    generation = f"{device['reported_generation'] or 'none'} of {device['desired_generation'] or 'none'}"
    rows: list[tuple[str, object]] = [
        ("device", device["id"]),
        ("host", f"{device['hostname'] or '-'} ({device['arch'] or '-'})"),
        ("labels", format_labels(device["labels"])),
        ("presence", f"{device['presence']}, seen {format_age(device['last_seen_at']) or 'never'}"),
        ("agent", device["agent_version"]),
        ("reported", format_age(device["reported_at"]) or "never"),
        ("generation", f"{generation}{'' if device['in_sync'] else ' (not accepted yet)'}"),
        ("records", _records_text(records)),
    ]
    if device["unsigned"]:
        rows.append(("unsigned", ", ".join(device["unsigned"])))
    print_table(("", ""), rows, empty="")
    if device["slots"]:
        print_line("")
    for slot in device["slots"]:
        _print_slot(slot)
    for config in (device["reported"] or {}).get("configs", ()):
        state = "applied" if config["applied"] else _reason(config["reason"])
        print_line(f"config {config['target_path']}: {state}")


def _records_text(records: dict[str, Any]) -> str:
    stored = f"{records['samples']} samples, {records['events']} events, {records['audits']} audit records"
    return f"{stored}, {records['gone']} lost"


def _print_slot(slot: dict[str, Any]) -> None:
    print_line(slot_summary(slot))
    if slot["reason"]:
        until = "" if slot["waits_until"] is None else f", until {ms_text(slot['waits_until'] * 1000)}"
        print_line(f"    {slot['about']} {slot['state']}: {slot['reason']} ({slot['reason_code']}){until}")
    if slot["bytes_total"]:
        described = slot["bytes_metadata"]
        fetched = format_bytes(slot["bytes_fetched"] + described)
        source = f", now from {slot['source']}" if slot["source"] else ""
        print_line(
            f"    {format_bytes(slot['bytes_total'])}; {fetched} came over the network,"
            f" {format_bytes(described)} of them metadata{source}"
        )
    for name, value in sorted((slot["figures"] or {}).items()):
        print_line(f"    {name.replace('_', ' ')}: {value:.4g}")
    if slot["active"] and slot["active_signed"] is False:
        print_line("    what serves here was imported at the device: the fleet did not sign it")


def _reason(reason: dict[str, Any] | None) -> str:
    return "not applied" if reason is None else f"not applied: {reason['message']} ({reason['code']})"
