"""The first half of the story: a fleet comes up, a signed model reaches it, and answers."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from rich.console import Console

from demo.report import Step
from support.fleet import Controller, Device
from support.processes import wait_for

CHANNEL = "assistant/stable"
MODEL = "smollm2-135m-instruct"
QUESTION = "In one short sentence: what is a lighthouse for?"


@dataclass
class Story:
    """What the steps share."""

    console: Console
    controller: Controller
    devices: Sequence[Device]
    model_file: Path
    samples_before: dict[str, int] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Tell what is being done."""
        self.console.print(f"   {text}", highlight=False)

    def client(self, device: Device) -> openai.OpenAI:
        """The unmodified OpenAI client, pointed at a device."""
        return openai.OpenAI(base_url=f"{device.url}/v1", api_key="not-needed", timeout=120, max_retries=0)

    def ask(self, device: Device, question: str = QUESTION) -> tuple[str, float, float]:
        """Ask a device, streaming.

        Returns:
            The answer, seconds to the first token, tokens per second after it.
        """
        start = time.monotonic()
        first = 0.0
        parts: list[str] = []
        tokens = 0
        with self.client(device) as client:
            stream = client.chat.completions.create(
                model=CHANNEL,
                messages=[{"role": "user", "content": question}],
                max_tokens=48,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    first = first or time.monotonic() - start
                    parts.append(chunk.choices[0].delta.content)
                if chunk.usage:
                    tokens = chunk.usage.completion_tokens
        total = time.monotonic() - start
        return "".join(parts).strip(), first, (tokens - 1) / max(total - first, 1e-6)

    def device_entry(self, device: Device) -> dict[str, Any]:
        """What the controller knows of a device."""
        entry: dict[str, Any] = self.controller.json("device", "show", device.id)
        return entry


def bring_up(story: Story, step: Step) -> None:
    """``skerry init`` and ``skerry serve``."""
    controller = story.controller
    story.say("skerry init: keyring, certificate authorities, TUF repository, database, first admin")
    controller.init()
    offline = sorted(p.name for p in controller.keys.iterdir())
    inside = [p for p in controller.data.rglob("*") if p.is_file() and b"ENCRYPTED" in p.read_bytes()[:64]]
    step.require(offline, "the keyring is empty")
    step.require(not inside, f"offline keys lie inside the controller's data: {inside}")
    story.say("skerry serve: the controller, and a mosquitto of its own")
    controller.start()
    step.figures["broker_port"] = controller.broker_port
    step.figures["keyring_files"] = len(offline)


def enroll(story: Story, step: Step) -> None:
    """Two devices enroll with one-time tokens and connect over MQTT with mutual TLS."""
    for device in story.devices:
        token = story.controller.enrollment_token("site=lab")
        device.enroll(token, story.controller)
        key = device.state / "identity" / "device.key"
        step.require(key.stat().st_mode & 0o077 == 0, f"{key} can be read by others")
        device.start()
        device.wait_connected()
        story.say(f"{device.name} enrolled as {device.id}, connected over mTLS")
    used = story.controller.enrollment_token()
    other = Device.in_folder(story.devices[0].folder, "latecomer")
    other.enroll(used, story.controller)
    third = Device.in_folder(story.devices[0].folder, "thief")
    try:
        third.enroll(used, story.controller)
    except AssertionError as error:
        story.say(f"a used token is refused: {str(error).strip().splitlines()[-1]}")
    else:
        step.require(holds=False, message="a one-time token worked twice")
    step.figures["devices"] = len(story.devices)


def publish_and_roll_out(story: Story, step: Step) -> None:
    """Sign and publish the model, set the channel, start the rollout."""
    controller = story.controller
    story.say(f"skerry artifact add {MODEL}@1: hash, chunk, describe, sign, publish")
    controller.run("artifact", "add", f"{MODEL}@1", story.model_file, "--keys", controller.keys, show=True)
    shown = controller.json("artifact", "show", f"{MODEL}@1")
    step.require(shown["description"]["quantization"] == "Q4_1", f"the header was misread: {shown}")
    step.require(shown["license"], "the licence was not read")
    controller.run("channel", "set", CHANNEL, "--selector", "site=lab")
    rollout = controller.json(
        "rollout", "create", CHANNEL, "--to", f"{MODEL}@1", "--waves", "1,100%", "--soak", "1s"
    )
    step.figures.update(
        rollout=rollout["id"],
        bytes=story.model_file.stat().st_size,
        parameters=shown["description"]["parameters"],
        quantization=shown["description"]["quantization"],
        license=shown["license"],
    )


def watch(story: Story, step: Step) -> None:
    """Watch the rollout to its success, and check on both sides what runs."""
    rollout = story.controller.json("rollout", "list")[0]["id"]
    story.controller.run("rollout", "watch", rollout, show=True, timeout_s=300)
    shown = story.controller.json("rollout", "show", rollout)
    step.require(shown["state"] == "succeeded", f"the rollout is {shown['state']}: {shown.get('reason')}")
    for device in story.devices:
        slot = next(s for s in device.json("status")["slots"] if s["name"] == CHANNEL)
        step.require(slot["active"] == f"{MODEL}@1", f"{device.name} runs {slot['active']}")
        reported = story.device_entry(device)["reported"]["slots"][CHANNEL]
        step.require(reported["state"] == "committed", f"{device.name} reported {reported['state']}")
        step.require(reported["figures"], f"{device.name} reported no figures of its trial")
        step.figures[f"{device.name}_trial_tok_s"] = round(reported["figures"].get("tokens_per_s", 0), 1)


def answer(story: Story, step: Step) -> None:
    """A local program asks both devices with the unmodified openai client."""
    for device in story.devices:
        text, first_s, rate = story.ask(device)
        step.require(len(text) > 10, f"{device.name} said {text!r}")
        story.say(f"{device.name}: {text}")
        step.figures[f"{device.name}_first_token_ms"] = round(first_s * 1000)
        step.figures[f"{device.name}_tok_s"] = round(rate, 1)
    with story.client(story.devices[0]) as client:
        whole = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=16, temperature=0
        )
    step.require(whole.choices[0].message.content, "no answer without streaming")


def crash_runner(story: Story, step: Step) -> None:
    """``kill -9`` of the runner during a request."""
    device = story.devices[0]
    daemon = device.service.pid
    runner = device.json("status")["runners"][0]["pid"]
    story.say(f"kill -9 {runner} (the runner) while it answers")
    with story.client(device) as client:
        stream = client.chat.completions.create(
            model=CHANNEL,
            messages=[{"role": "user", "content": "Count from one to five hundred."}],
            max_tokens=1500,
            stream=True,
        )
        received = 0
        try:
            for _ in stream:
                received += 1
                if received == 3:
                    os.kill(runner, signal.SIGKILL)
        except openai.APIError as error:
            message = str(error)
        else:
            message = ""
    step.require(message, "the client was told nothing of the crash")
    story.say(f"the client gets: {message}")
    text, _, _ = story.ask(device)
    after = device.json("status")["runners"][0]
    step.require(text, "no answer after the crash")
    step.require(after["pid"] != runner, "the runner is the same process")
    step.require(device.service.running and device.service.pid == daemon, "the daemon was restarted")
    wait_for(
        lambda: [e for e in events(story, device) if e["name"] == "runner_crashed"],
        "the controller does not know of the crash",
    )
    step.figures.update(chunks_before=received, error=message[:80])


def events(story: Story, device: Device) -> list[dict[str, Any]]:
    """The device's events, as the controller stored them."""
    found: list[dict[str, Any]] = story.controller.json("device", "logs", device.id, "--since", "1h")
    return found
