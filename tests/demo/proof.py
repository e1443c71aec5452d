"""Updates that cost what changed, and stay only when proven on the device."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from demo.report import Step
from demo.story import CHANNEL, MODEL, Story
from skerry_protocol.gguf_header import read_gguf_header
from support.fleet import Device
from support.processes import wait_for

FIX = b"{# a fix that changes the length, and with it the place of every tensor in the file #}"
MAX_FIX_BYTES = 64 * 1024
OUT_OF_REACH_TOKENS_PER_S = 100_000
DOWNLOAD_BYTES_PER_S = 20_000_000
"""Slow enough for the kill to hit the download."""


def metadata_fix(story: Story, step: Step) -> None:
    """The chat template changes: all tensors move in the file, and next to nothing is fetched."""
    file = story.controller.folder / "template-fix.gguf"
    file.write_bytes(_with_longer_template(story.model_file))
    story.say(f"{MODEL}@3: the same tensors after a chat template that is {len(FIX)} bytes longer")
    _publish(story, 3, file)
    rollout = _roll_out(story, 3)
    story.controller.run("rollout", "watch", rollout, show=True, timeout_s=120)
    shown = story.controller.json("rollout", "show", rollout)
    step.require(shown["state"] == "succeeded", f"the rollout is {shown['state']}: {shown.get('reason')}")
    for device in story.devices:
        slot = _slot(story, device)
        step.require(slot["state"] == "committed", f"{device.name} reported {slot['state']}")
        step.require(slot["figures"].get("soak_total_s"), f"{device.name} committed without a soak: {slot}")
        fetched = slot["bytes_fetched"]
        step.require(0 < fetched <= MAX_FIX_BYTES, f"{device.name} fetched {fetched} bytes for a template")
        story.say(
            f"{device.name} fetched {fetched} of {slot['bytes_total']} bytes, and soaked before it committed"
        )
        step.figures[f"{device.name}_fetched_bytes"] = fetched


def slow_model(story: Story, step: Step) -> None:
    """A version with a floor that no such device reaches fails its trial, and the one before serves on."""
    floor = story.controller.folder / "out-of-reach.toml"
    floor.write_text(
        f'min_tokens_per_s = {OUT_OF_REACH_TOKENS_PER_S}\n[[checks]]\nprompt = "Say hello."\n',
        encoding="utf-8",
    )
    story.say(f"{MODEL}@4 has to make {OUT_OF_REACH_TOKENS_PER_S} tokens/s on each device: none will")
    _publish(story, 4, story.controller.folder / "template-fix.gguf", "--acceptance", floor)
    rollout = _roll_out(story, 4)
    for device in story.devices:
        wait_for(
            lambda one=device: _slot(story, one)["state"] == "rolled_back",  # type: ignore[misc]  # bound now
            f"{device.name} did not go back",
            deadline_s=60,
        )
        slot = _slot(story, device)
        reason = slot["reason"]
        step.require(reason["code"] == "too_slow", f"it went back for another reason: {reason}")
        step.require(slot["active"]["ref"] == f"{MODEL}@3", f"{device.name} runs {slot['active']}")
        story.say(f"{device.name} went back by itself: {reason['message']}")
        step.figures[f"{device.name}_measured_tok_s"] = slot["figures"]["tokens_per_s"]
    text, _, _ = story.ask(story.devices[0])
    step.require(text, "no answer after the way back")
    shown = story.controller.json("rollout", "show", rollout)
    step.require(shown["state"] != "succeeded", "the rollout reports a success that was not")
    story.controller.run("rollout", "abort", rollout)


def kill_in_download(story: Story, step: Step) -> None:
    """A third device is killed in the middle of its first download, and goes on where it was."""
    limit = {"SKERRY_AGENT_UPDATES__DOWNLOAD_BYTES_PER_S": str(DOWNLOAD_BYTES_PER_S)}
    device = Device.in_folder(story.devices[0].folder, "device-c", limit)
    device.enroll(story.controller.enrollment_token("site=lab"), story.controller)
    device.start()
    try:
        seen = wait_for(
            lambda: (one := _progress(device))["bytes_done"] > one["bytes_total"] * 0.3 and one,
            "device-c does not download",
            deadline_s=30,
        )
        step.require(seen["state"] == "downloading", f"it is {seen['state']}: too late to cut its download")
        story.say(f"kill -9 of device-c with {seen['bytes_done']} of {seen['bytes_total']} bytes verified")
        device.service.kill()
        before = _stored(device)["bytes_fetched"]
        device.start()
        wait_for(lambda: _progress(device)["state"] == "committed", "device-c does not commit", deadline_s=60)
        after = _stored(device)["bytes_fetched"] - before
        missing = seen["bytes_total"] - seen["bytes_done"]
        step.require(after <= missing, f"{after} bytes were fetched after the kill; {missing} were missing")
        story.say(f"after the kill it fetched {after} bytes more, and no verified chunk again")
        step.figures.update(verified_before=seen["bytes_done"], missing=missing, fetched_after=after)
    finally:
        device.service.stop()


def _publish(story: Story, version: int, file: Path, *more: str | Path) -> None:
    controller = story.controller
    ref = f"{MODEL}@{version}"
    controller.run("artifact", "add", ref, file, "--keys", controller.keys, *more)


def _roll_out(story: Story, version: int) -> str:
    waves = ("--waves", "100%", "--soak", "0s")
    created = story.controller.json("rollout", "create", CHANNEL, "--to", f"{MODEL}@{version}", *waves)
    return str(created["id"])


def _slot(story: Story, device: Device) -> dict[str, Any]:
    slot: dict[str, Any] = story.device_entry(device)["reported"]["slots"][CHANNEL]
    return slot


def _with_longer_template(original: Path) -> bytes:
    """The file with a longer chat template; the tensors follow at the next aligned place."""
    data = original.read_bytes()
    header = read_gguf_header(data)
    template = str(header.metadata["tokenizer.chat_template"]).encode()
    stored = len(template).to_bytes(8, "little") + template
    at = data.index(stored)
    longer = template + FIX
    head = data[:at] + len(longer).to_bytes(8, "little") + longer
    head += data[at + len(stored) : header.tensors_end]
    return (
        head.ljust(-(-len(head) // header.alignment) * header.alignment, b"\0") + data[header.data_offset :]
    )


def _progress(device: Device) -> dict[str, Any]:
    found: dict[str, Any] = device.json("status")["updates"].get(CHANNEL, {})
    return {"state": "", "bytes_done": 0, "bytes_total": 0, **found}


def _stored(device: Device) -> dict[str, Any]:
    """The slot's update as the device stored it."""
    with closing(sqlite3.connect(f"file:{device.state / 'updates.db'}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT record FROM slots WHERE name = ?", (CHANNEL,)).fetchone()
    record: dict[str, Any] = json.loads(row[0])
    return {"bytes_fetched": 0, **record}
