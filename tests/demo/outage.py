"""The broker goes away and comes back: inference goes on, and every sample arrives exactly once."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from demo.report import Step
from demo.story import Story
from support.fleet import Device
from support.processes import wait_for

OUTAGE_S = 6.0


def taken(device: Device) -> dict[str, int]:
    """Samples that a device ever took, by stream: read from its outbox, not from what it says."""
    rows = _rows(device.state / "outbox.db", "SELECT id, next_sequence FROM streams WHERE class = 'samples'")
    return {str(stream): int(str(count)) for stream, count in rows}


def stored(story: Story, device: Device) -> dict[str, tuple[int, int]]:
    """Samples that the controller has of a device, by stream: how many, and how many different ones."""
    query = (
        "SELECT stream, count(*), count(DISTINCT sequence) FROM records"
        " WHERE device_id = ? AND kind = 'sample' GROUP BY stream"
    )
    rows = _rows(story.controller.data / "controller.db", query, device.id)
    return {str(stream): (int(str(count)), int(str(distinct))) for stream, count, distinct in rows}


def outage(story: Story, step: Step) -> None:
    """Stop the controller with its broker, ask meanwhile, start it again, count both sides."""
    device = story.devices[0]
    before = sum(taken(device).values())
    story.say("stopping the controller, and its mosquitto with it")
    story.controller.service.stop()
    wait_for(lambda: not device.json("status")["connected"], "the device does not notice the outage")
    start = time.monotonic()
    text, first_s, _ = story.ask(device)
    step.require(text, "no answer while the broker is away")
    story.say(f"offline answer after {first_s * 1000:.0f} ms: {text}")
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - start)))  # samples gather, one a second
    waiting = device.json("status")["outbox"]["pending"]["sample"]
    step.require(waiting >= OUTAGE_S / 2, f"only {waiting} samples gathered in the outbox")
    story.say(f"{waiting} samples wait in the outbox; starting the controller again")
    story.controller.start()
    for one in story.devices:
        one.wait_connected()
        _all_arrived(story, one, step)
    step.figures.update(offline_first_token_ms=round(first_s * 1000), gathered=waiting, taken_before=before)


def _all_arrived(story: Story, device: Device, step: Step) -> None:
    """Everything taken until now arrives, each sample once, without a gap."""
    expected = taken(device)

    def complete() -> bool:
        have = stored(story, device)
        return all(have.get(stream, (0, 0))[1] >= count for stream, count in expected.items() if count)

    wait_for(complete, f"not all samples of {device.name} arrived", deadline_s=60)
    have = stored(story, device)
    doubled = {stream: counts for stream, counts in have.items() if counts[0] != counts[1]}
    step.require(not doubled, f"{device.name}: samples stored twice: {doubled}")
    total = sum(expected.values())
    arrived = sum(min(have[stream][1], count) for stream, count in expected.items() if count)
    step.require(arrived == total, f"{device.name}: {total} taken, {arrived} stored")
    story.say(f"{device.name}: {total} samples taken, {arrived} stored, none twice")
    step.figures[f"{device.name}_samples"] = total


def _rows(database: Path, query: str, *parameters: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query, parameters).fetchall()
