"""The named steps of an update, with whole processes: the agent dies at each, and is started again.

A real daemon with real runners, a real controller with its broker, and a link between them that counts. No
hook in the product is needed: the layer below the daemon sees the state being stored, and kills it when it is
on the disk, before its effect; or a while later, in the middle of it.
"""

import hashlib
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import openai
import psutil

from faults.layer import Death
from support.fleet import Controller, Device
from support.processes import free_ports, wait_for
from support.slow_link import SlowLink
from support.tiny_gguf import write_tiny_gguf
from support.waiting import wait_for_event, wait_for_slot

CHANNEL: Final = "assistant/stable"
_LINK_BITS_PER_S: Final = 64e6
_ON_THE_WAY_BYTES: Final = 400_000
"""What may be in the buffers of a link when whoever reads from it dies, and what TLS takes."""
_STEP_S: Final = 90.0
_SOAK_TOML: Final = "[soak]\nduration_s = {seconds}\n"


class Step(NamedTuple):
    """Where the agent dies.

    Attributes:
        name: For people.
        death: The same for the layer; ``{target}`` stands for the version's manifest.
        goes_back: The version crashes in its soak, so that the device goes back.
    """

    name: str
    death: Death
    goes_back: bool = False


def _stored(state: str, *, delay_ms: int = 0) -> Death:
    record = f'"state":"{state}","target":{{"path":"{{target}}"'
    return Death("updates.db-wal", record, delay_ms=delay_ms)


STEPS: Final = (
    Step("resolving", _stored("resolving")),
    Step("checking", _stored("checking")),
    Step("downloading", _stored("downloading")),
    Step("half a download", Death(".part", on="write", count=6)),
    Step("verifying", _stored("verifying")),
    Step("staged", _stored("staged")),
    Step("trial", _stored("trial")),
    Step("in the trial", _stored("trial", delay_ms=400)),
    Step("switching", _stored("switching")),
    Step("soaking", _stored("soaking")),
    Step("in the soak", _stored("soaking", delay_ms=700)),
    Step("committed", _stored("committed")),
    Step("going back", _stored("going_back"), goes_back=True),
    Step("rolled back", _stored("rolled_back"), goes_back=True),
)


@dataclass
class Fleet:
    """A controller, a device, and the counted link on which its chunks come."""

    controller: Controller
    device: Device
    link: SlowLink
    number: int = 1
    answers: dict[str, str] = field(default_factory=dict)
    kept: set[tuple[str, int]] = field(default_factory=set)

    @property
    def target(self) -> str:
        """The manifest of the newest version."""
        return f"models/tiny/{self.number}.json"

    def publish(self, *, soak_s: int | None = None) -> Path:
        """Publish the next version."""
        file = self.controller.folder / f"tiny-{self.number}.gguf"
        write_tiny_gguf(file, seed=self.number, blocks=6, embedding=128)
        options: list[str | Path] = []
        if soak_s is not None:
            acceptance = self.controller.folder / "acceptance.toml"
            acceptance.write_text(_SOAK_TOML.format(seconds=soak_s), encoding="utf-8")
            options = ["--acceptance", acceptance]
        keys = self.controller.keys
        self.controller.run("artifact", "add", f"tiny@{self.number}", file, "--keys", keys, *options)
        return file

    def start(self, death: Death | None = None) -> None:
        """Start the agent, to die as said."""
        own = {name: value for name, value in self.device.settings.items() if not _is_step(name)}
        if death is not None:
            death = Death(
                death.path,
                death.bytes.replace("{target}", self.target),
                death.on,
                death.count,
                death.delay_ms,
            )
            own |= death.environment(self.device.state)
        self.device.settings = own
        self.device.__post_init__()
        self.device.start()

    def ask(self) -> str:
        """What the slot answers; it has to answer at once."""
        with openai.OpenAI(
            base_url=f"{self.device.url}/v1", api_key="x", max_retries=0, timeout=60
        ) as client:
            done = client.chat.completions.create(
                model=CHANNEL, messages=[{"role": "user", "content": "hello"}], max_tokens=8, temperature=0
            )
        return done.choices[0].message.content or ""


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet whose device has committed ``tiny@1``."""
    controller = Controller.in_folder(folder / "house")
    (real,) = free_ports(1)
    controller.init()
    link = SlowLink(controller.device_port, real, _LINK_BITS_PER_S)
    controller.move_device_listener(real)
    device = Device.in_folder(folder, "box", {"SKERRY_AGENT_RUNTIME__THREADS": "1"})
    made = Fleet(controller, device, link)
    try:
        controller.start()
        with link.running():
            made.publish()
            channel = ("--selector", "site=lab", "--artifact", "tiny@1")
            controller.run("channel", "set", CHANNEL, *channel)
            device.enroll(controller.enrollment_token("site=lab"), controller)
            made.start()
            wait_for_slot(controller, device, CHANNEL, "committed", ref="tiny@1")
            made.answers["tiny@1"] = made.ask()
            device.service.stop()
            yield made
    finally:
        made.device.service.stop()
        controller.service.stop()


def go(made: Fleet, step: Step) -> list[str]:
    """Let the agent die at a step of an update, start it again, and return what is wrong then."""
    old = f"tiny@{made.number}" if made.answers.get(f"tiny@{made.number}") else _newest(made.answers)
    made.number += 1
    new = f"tiny@{made.number}"
    file = made.publish(soak_s=60 if step.goes_back else None)
    before = made.link.figures.bytes_down
    made.start(step.death)
    rollout = ("--to", new, "--waves", "100%", "--soak", "0s")
    created = made.controller.json("rollout", "create", CHANNEL, *rollout)
    known = [made.answers[old]]
    if step.goes_back:
        known.append(_crash_runners(made))
    wait_for(lambda: not made.device.service.running, f"the agent does not die at {step.name}")
    made.device.service.stop()  # to take note of its end
    made.kept |= _records(made.device)
    made.start()
    wrong = []
    answer = made.ask()
    state = "rolled_back" if step.goes_back else "committed"
    wait_for(lambda: _stands(made, state), f"it does not end as {state}", deadline_s=_STEP_S)
    serving = made.ask()
    if step.goes_back:
        wait_for_event(made.controller, made.device, "update_rolled_back", code="soak_crashes")
        if serving != made.answers[old]:
            wrong.append("it went back, but another version answers")
    else:
        made.answers = {old: made.answers[old], new: serving}
    if answer not in (*known, serving):
        wrong.append(f"right after the start neither the old nor the new version answered, but {answer!r}")
    wrong += _damaged(made.device.state)
    came = made.link.figures.bytes_down - before
    if came > file.stat().st_size + _ON_THE_WAY_BYTES:
        wrong.append(f"{came} bytes came for a file of {file.stat().st_size}")
    if step.goes_back:
        made.controller.run("rollout", "abort", created["id"], check=False)  # it may have ended by itself
    made.device.service.stop()
    return wrong


def lost(made: Fleet) -> list[str]:
    """What the outbox had at any of the deaths, and the controller does not have in the end."""
    made.start()

    def missing() -> list[str]:
        stored, gone = _stored_records(made.controller, made.device.id)
        left = [
            each
            for each in sorted(made.kept - stored)
            if not any(stream == each[0] and first <= each[1] <= last for stream, first, last in gone)
        ]
        return [f"lost: {stream} {sequence}" for stream, sequence in left] + _gaps(stored, gone)

    deadline = time.monotonic() + 30
    while (left := missing()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def walk_steps(folder: Path, steps: Sequence[Step] = STEPS) -> Iterator[tuple[str, list[str]]]:
    """Go to steps, one after the other; yields each name with what is wrong, and the records in the end."""
    with fleet(folder) as made:
        for step in steps:
            yield step.name, go(made, step)
        yield "records", lost(made)


def _newest(answers: dict[str, str]) -> str:
    return max(answers, key=lambda ref: int(ref.rpartition("@")[2]))


def _is_step(name: str) -> bool:
    return name == "LD_PRELOAD" or name.startswith("FAULTS_")


def _crash_runners(made: Fleet) -> str:
    """While it soaks, each runner that answers dies; returns what the version answers."""
    wait_for(lambda: _stands(made, "soaking"), "it does not soak", deadline_s=_STEP_S)
    answer, crashed = made.ask(), set[int]()
    while made.device.service.running and len(crashed) < 3:
        try:
            made.ask()
        except openai.OpenAIError:
            continue
        for child in psutil.Process(made.device.service.pid).children(recursive=True):
            if re.search("runner", " ".join(child.cmdline())) and child.pid not in crashed:
                crashed.add(child.pid)
                os.kill(child.pid, signal.SIGKILL)
    return answer


def _stands(made: Fleet, state: str) -> bool:
    """Whether the newest version stands in a state; read from the device's disk, which costs no process."""
    place = f"file:{made.device.state / 'updates.db'}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as database:
        (record,) = database.execute("SELECT record FROM slots WHERE name = ?", (CHANNEL,)).fetchone()
    return f'"state":"{state}","target":{{"path":"{made.target}"' in record


def _damaged(state: Path) -> list[str]:
    return [
        f"{path.name} has other bytes"
        for path in (state / "registry" / "files").rglob("*")
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]


def _records(device: Device) -> set[tuple[str, int]]:
    """What waits in the outbox."""
    with closing(sqlite3.connect(device.state / "outbox.db")) as database:
        query = "SELECT id, sequence FROM records JOIN streams ON records.stream = streams.number"
        return set(database.execute(query).fetchall())


def _stored_records(
    controller: Controller, device: str
) -> tuple[set[tuple[str, int]], list[tuple[str, int, int]]]:
    with closing(sqlite3.connect(f"file:{controller.data / 'controller.db'}?mode=ro", uri=True)) as database:
        records = database.execute("SELECT stream, sequence FROM records WHERE device_id = ?", (device,))
        gone = database.execute("SELECT stream, first, last FROM gone_ranges WHERE device_id = ?", (device,))
        return set(records.fetchall()), gone.fetchall()


def _gaps(stored: set[tuple[str, int]], gone: Sequence[tuple[str, int, int]]) -> list[str]:
    """Numbers that no stream may leave out."""
    streams: dict[str, set[int]] = {}
    for stream, sequence in stored:
        streams.setdefault(stream, set()).add(sequence)
    for stream, first, last in gone:
        streams.setdefault(stream, set()).update(range(first, last + 1))
    return [
        f"stream {stream} has no {missing}"
        for stream, numbers in streams.items()
        for missing in sorted(set(range(max(numbers))) - numbers)
    ]
