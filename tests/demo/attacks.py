"""What was not signed is refused, the old model keeps answering, and the controller shows why."""

import os
import secrets
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from demo.report import Step
from demo.story import CHANNEL, MODEL, Story, events
from demo.thief import Thief
from skerry_protocol.commands import Command, encode_command
from skerry_protocol.desired import DesiredSlot, TargetRef, decode_desired, encode_desired
from skerry_protocol.envelope import parse, seal
from skerry_protocol.records import Acknowledgement, encode_acknowledgement
from support.fleet import Device
from support.processes import wait_for

TROJAN = "models/trojan/1.json"


def attacks(story: Story, step: Step) -> None:
    """Five attacks with all that a stolen controller and a stolen broker have."""
    device = story.devices[0]
    thief = Thief(story.controller)
    old = desired_envelope(story, device)
    altered_model(story, step, thief)
    step.require(desired_envelope(story, device) != old, "the desired state did not move on")

    story.say("an older desired state is replayed")
    thief.send(device.id, "desired", old)
    refused(story, step, device, "desired_refused", "older_generation")

    story.say("a command that the broker forged")
    thief.send(device.id, "command", thief.forged("command", _command(device)))
    refused(story, step, device, "command_refused", "bad_signature")

    story.say("an acknowledgement that the broker forged, to make the device forget its records")
    thief.send(device.id, "ack", thief.forged("ack", _acknowledgement(device)))
    refused(story, step, device, "ack_refused", "bad_signature")

    wrong_key(story, step, thief, device)
    still_answers(story, step, device)


def altered_model(story: Story, step: Step, thief: Thief) -> None:
    """The stored bytes of a properly signed version are changed before the devices fetch them."""
    story.say(f"{MODEL}@2 is signed and published; then its bytes are altered in the controller's store")
    file = story.controller.folder / "second-version.gguf"
    _second_version(story.model_file, file)
    story.controller.run("artifact", "add", f"{MODEL}@2", file, "--keys", story.controller.keys)
    file.unlink()
    thief.alter_blob(story.controller.json("artifact", "show", f"{MODEL}@2")["file_sha256"])
    rollout = story.controller.json("rollout", "create", CHANNEL, "--to", f"{MODEL}@2", "--waves", "100%")[
        "id"
    ]
    for device in story.devices:
        wait_for(
            lambda one=device: _slot(story, one)["state"] == "refused",  # type: ignore[misc]  # bound now
            f"{device.name} did not refuse the altered model",
            deadline_s=90,
        )
        slot = _slot(story, device)
        step.require(
            slot["reason"]["code"] == "chunk_mismatch", f"refused for another reason: {slot['reason']}"
        )
        step.require(slot["active"]["ref"] == f"{MODEL}@1", f"{device.name} runs {slot['active']}")
    story.say(f"refused on both devices: {slot['reason']['message']}")
    shown = wait_for(
        lambda: (one := story.controller.json("rollout", "show", rollout))["state"] != "running" and one,
        "the rollout goes on in spite of its failures",
    )
    step.require(shown["state"] in ("paused", "failed"), f"the rollout is {shown['state']}")
    step.figures["altered_model_rollout"] = shown["state"]
    story.controller.run("rollout", "abort", rollout)
    still_answers(story, step, story.devices[0])


def wrong_key(story: Story, step: Step, thief: Thief, device: Device) -> None:
    """A manifest that no offline key signed, below good online signatures and a good director's order."""
    story.say("a manifest signed by a wrong key, with the stolen director's order to run it")
    content = b'{"v":1,"name":"trojan","version":"1","kind":"model","variants":[]}'
    os.kill(story.controller.service.pid, signal.SIGSTOP)  # or it would set the device right at once
    before = thief.add_unsigned_target(TROJAN, content)
    try:
        current = decode_desired(parse(desired_envelope(story, device)).payload)
        target = TargetRef(path=TROJAN, sha256=_sha256(content), length=len(content))
        ordered = msgspec.structs.replace(
            current,
            id=secrets.token_hex(8),
            generation=current.generation.next(),
            slots={**current.slots, CHANNEL: DesiredSlot(target=target)},
        )
        with thief.in_the_controllers_place(device.id) as send:
            send("desired", seal("desired", encode_desired(ordered), [thief.director]))
            wait_for(
                lambda: device.json("status")["updates"][CHANNEL]["state"] == "refused",
                f"{device.name} did not refuse what nobody signed",
            )
        still_answers(story, step, device)
    finally:
        thief.restore(before)
        os.kill(story.controller.service.pid, signal.SIGCONT)
    refused(story, step, device, "target_refused", "metadata_unsigned")
    wait_for(
        lambda: _slot(story, device)["state"] == "committed",
        "the controller did not take the device back from the thief",
        deadline_s=60,
    )


def refused(story: Story, step: Step, device: Device, name: str, code: str) -> None:
    """The controller shows that the device refused, and why."""
    event = wait_for(
        lambda: next(
            (e for e in events(story, device) if e["name"] == name and e["data"].get("code") == code), None
        ),
        f"the controller shows no {name} with code {code}",
        deadline_s=60,
    )
    story.say(f"   refused: {event['data']['message']}")
    step.figures[f"{name}:{code}"] = True


def still_answers(story: Story, step: Step, device: Device) -> None:
    """The version that was proven keeps answering."""
    text, _, _ = story.ask(device)
    step.require(text, "the old model does not answer")
    active = next(s for s in device.json("status")["slots"] if s["name"] == CHANNEL)["active"]
    step.require(active == f"{MODEL}@1", f"{active} is active")


def desired_envelope(story: Story, device: Device) -> bytes:
    """The desired state that the controller last signed for a device."""
    database = story.controller.data / "controller.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        query = "SELECT desired_envelope FROM devices WHERE id = ?"
        envelope: bytes = connection.execute(query, (device.id,)).fetchone()[0]
    return envelope


def _slot(story: Story, device: Device) -> dict[str, Any]:
    reported = story.device_entry(device)["reported"] or {}
    slot: dict[str, Any] = reported.get("slots", {}).get(CHANNEL, {"state": None})
    return slot


def _second_version(original: Path, copy: Path) -> None:
    """The same model with one weight changed: what a device has of it already is not fetched again."""
    shutil.copyfile(original, copy)
    with copy.open("r+b") as file:
        file.seek(-2000, 2)
        file.write(b"\x01\x02\x03\x04")


def _command(device: Device) -> bytes:
    now = int(time.time())
    return encode_command(
        Command(
            device=device.id, id="forged", issued_at=now, expires_at=now + 600, name="rollback",
            arguments={"slot": CHANNEL},
        )
    )  # fmt: skip


def _acknowledgement(device: Device) -> bytes:
    now = int(time.time())
    return encode_acknowledgement(
        Acknowledgement(
            device=device.id, id="forged", issued_at=now, expires_at=now + 600, streams={"any": [(0, 10**9)]}
        )
    )


def _sha256(content: bytes) -> str:
    import hashlib  # noqa: PLC0415 - only here

    return hashlib.sha256(content).hexdigest()
