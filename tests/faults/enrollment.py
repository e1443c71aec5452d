"""A device that enrolls: the controller, in a process of its own, and the device's life."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.layer import Layer, environment
from faults.rooms import Run, Teller
from faults.stage import Enrolling, Stage
from skerry_agent.errors import AgentError
from skerry_agent.identity import EnrollmentLimits, Identity, enroll
from skerry_agent.trust import TrustStore
from skerry_agent.trusted_time import TrustedTime
from skerry_protocol.reported import Inventory
from support.enrollment_controller import EnrollmentController, Fleet


@contextmanager
def enrollment(folder: Path, story: str, *, again: bool) -> Iterator[Stage]:
    """The story, with its controller running."""
    command = [sys.executable, "-m", "faults.enrollment", str(folder / "stage"), story, str(int(again))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(layered=False)
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the enrollment's controller ended; what it wrote stands above")
        yield Stage.load(folder / "stage")
    finally:
        process.kill()
        process.communicate()


async def live_enrolling(run: Run, stage: Stage, enrolling: Enrolling, teller: Teller, layer: Layer) -> None:
    """``skerry-agent enroll``, as ``daemon.enrolling`` does it; once more when a fault refused it."""
    state = run.state
    healed = False
    while True:
        try:
            state.prepare()
            time = TrustedTime(state.trusted_time, lambda: stage.now)
            held = Identity.load(state.identity)
            teller.tell("identity", device=held.device if held is not None else None)
            identity = held
            if held is None or (enrolling.again and run.making is None):
                identity = await enroll(
                    enrolling.token,
                    enrolling.url,
                    folder=state.identity,
                    trust=TrustStore(state.trust, time),
                    time=time,
                    inventory=Inventory(hostname="box"),
                    limits=EnrollmentLimits(connect_timeout_s=5, read_timeout_s=5, answer_timeout_s=5),
                    again=held is not None,
                )
            await _start(run, stage, teller, identity)
        except AgentError as error:
            if healed or not layer.hits:
                raise
            healed = True
            teller.tell("healed", when="enrollment", hits=layer.hits, message=str(error))
            layer.heal()
            continue
        return


async def _start(run: Run, stage: Stage, teller: Teller, identity: Identity | None) -> None:
    """What the daemon does with an identity at its start."""
    with run.state.locked():
        loaded = Identity.load(run.state.identity)
        trust = await TrustStore(
            run.state.trust, TrustedTime(run.state.trusted_time, lambda: stage.now)
        ).load()
    same = loaded is not None and identity is not None and loaded.certificate_pem == identity.certificate_pem
    teller.tell("end", enrolled=run.state.enrolled and same, trust=trust)


def main() -> None:
    """Be the controller: write the stage, say so, and answer until killed."""
    path, story, again = Path(sys.argv[1]), sys.argv[2], bool(int(sys.argv[3]))
    fleet = Fleet()
    with tempfile.TemporaryDirectory() as folder, EnrollmentController(Path(folder), fleet) as controller:
        token = fleet.token().format()
        Stage(
            story=story,
            root=fleet.repository.initial_root,
            root_sha256=fleet.repository.initial_root_sha256,
            enrolling=Enrolling(token=token, url=controller.url, again=again),
        ).save(path)
        print("ready", flush=True)  # noqa: T201 - to whoever started it
        signal.pause()


if __name__ == "__main__":
    main()
