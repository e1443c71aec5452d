"""A real mosquitto as a child: start, crash, reload, stop."""

import asyncio
import os
import select
import shutil
import signal
import socket
import ssl
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.broker import BrokerMaterial, BrokerSettings, BrokerState, ManagedBroker, process
from skerry_controller.broker.account import find_account
from skerry_controller.errors import UsageError, WorldError
from support.broker import DEVICE_A, HOST, BrokerHouse, next_message

pytestmark = pytest.mark.broker

ROOT = "skerry/v1"


class StateQueue:
    """Waits for states of a broker."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[BrokerState] = asyncio.Queue()
        self.put = self._queue.put_nowait

    async def wait_for(self, state: BrokerState) -> None:
        async with asyncio.timeout(20):
            while await self._queue.get() != state:
                pass


def watched(house: BrokerHouse) -> tuple[ManagedBroker, StateQueue]:
    states = StateQueue()
    return ManagedBroker(house.settings, house.material(), on_state=states.put), states


def port_is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


async def test_it_accepts_connections_once_started_and_none_once_stopped(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    await house.broker.start()
    assert house.broker.state is BrokerState.RUNNING
    async with house.device(DEVICE_A):
        pass
    await house.broker.stop()
    assert not port_is_open(house.port)
    assert house.broker.pid is None
    assert house.states == [BrokerState.STARTING, BrokerState.RUNNING, BrokerState.STOPPED]
    await house.broker.stop()


async def test_what_was_stopped_stays_so(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path, {"backoff_min_s": 0.01})
    await house.broker.start()
    watch = asyncio.create_task(house.broker.watch())
    await asyncio.sleep(0)  # lets it begin
    await house.broker.stop()
    async with asyncio.timeout(5):
        await watch
    assert house.broker.state is BrokerState.STOPPED
    assert not port_is_open(house.port)


async def test_it_comes_back_after_a_kill(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path, {"backoff_min_s": 0.01})
    broker, states = watched(house)
    async with broker.running():
        for _ in range(2):
            pid = broker.pid
            assert pid is not None
            await states.wait_for(BrokerState.RUNNING)
            os.kill(pid, signal.SIGKILL)
            await states.wait_for(BrokerState.WAITING)
            await states.wait_for(BrokerState.RUNNING)
            assert broker.pid not in {None, pid}
            states.put(BrokerState.RUNNING)
            async with house.controller() as controller, house.device(DEVICE_A) as device:
                await device.subscribe(f"{ROOT}/{DEVICE_A}/down/+", qos=1)
                await controller.publish(f"{ROOT}/{DEVICE_A}/down/ack", b"hello", qos=1)
                assert await next_message(device) == (f"{ROOT}/{DEVICE_A}/down/ack", b"hello")


async def test_it_keeps_trying_while_its_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = BrokerHouse(tmp_path, {"backoff_min_s": 0.01})
    broker, states = watched(house)
    async with broker.running():
        assert broker.pid is not None
        attempts = iter([True, True])

        def taken_twice(settings: BrokerSettings) -> None:
            if next(attempts, False):
                raise WorldError(f"port {settings.port} is taken")

        monkeypatch.setattr(process, "check_port_is_free", taken_twice)
        await states.wait_for(BrokerState.RUNNING)
        os.kill(broker.pid, signal.SIGKILL)
        await states.wait_for(BrokerState.WAITING)
        await states.wait_for(BrokerState.RUNNING)
        assert next(attempts, None) is None
        async with house.device(DEVICE_A):
            pass


async def test_reloading_shows_a_new_certificate_and_keeps_sessions(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    async with house.broker.running(), house.controller() as controller, house.device(DEVICE_A) as device:
        await device.subscribe(f"{ROOT}/{DEVICE_A}/down/+", qos=1)
        material = house.material()
        before = await asyncio.to_thread(served_certificate, house)
        await house.broker.reload(material)
        async with asyncio.timeout(10):
            while (served := await asyncio.to_thread(served_certificate, house)) == before:
                pass  # the signal takes its time; each round is a TLS handshake
        assert ssl.DER_cert_to_PEM_cert(served).encode() == material.server.certificate_pem
        await controller.publish(f"{ROOT}/{DEVICE_A}/down/ack", b"still", qos=1)
        assert await next_message(device) == (f"{ROOT}/{DEVICE_A}/down/ack", b"still")


def served_certificate(house: BrokerHouse) -> bytes:
    context = house.context(None)
    with (
        socket.create_connection((HOST, house.port), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=HOST) as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    with socket.socket() as squatter:
        squatter.bind((HOST, house.port))
        squatter.listen()
        with pytest.raises(WorldError, match=f"port {house.port} is taken"):
            await house.broker.start()
    assert house.broker.state is BrokerState.STOPPED


async def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    settings = BrokerSettings(folder=tmp_path / "b", port=house.port, bind_address="192.0.2.1")
    with pytest.raises(UsageError, match=r"192\.0\.2\.1 is not an address of this machine"):
        await ManagedBroker(settings, house.material()).start()


async def test_a_missing_program_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = BrokerHouse(tmp_path, {"binary": tmp_path / "mosquitto"})
    with pytest.raises(WorldError, match="is not a program"):
        await house.broker.start()
    house = BrokerHouse(tmp_path / "two")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(WorldError, match="sudo apt install mosquitto"):
        await house.broker.start()


async def test_what_mosquitto_says_reaches_the_person_when_it_will_not_start(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    material = BrokerMaterial(b"not a certificate", house.material().server)
    with pytest.raises(WorldError, match=r"mosquitto did not start: .*devices\.crt"):
        await ManagedBroker(house.settings, material).start()


@pytest.fixture
def idle_program() -> Iterator[Path]:
    """In a folder that the broker's account can reach, other than ``tmp_path``."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        script = Path(name) / "mosquitto"
        script.write_text("#!/bin/sh\necho pondering >&2\nexec sleep 60\n")
        script.chmod(0o755)
        yield script


async def test_a_program_that_never_listens_is_ended(tmp_path: Path, idle_program: Path) -> None:
    house = BrokerHouse(tmp_path, {"binary": idle_program, "start_timeout_s": 0.5})
    with pytest.raises(WorldError, match=r"did not listen within 0\.5 s: pondering"):
        await house.broker.start()
    assert house.broker.pid is None


async def test_root_runs_it_as_another_user_whose_group_can_only_read(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path)
    account = find_account(house.settings, os.geteuid())
    if account is None:
        pytest.skip("only root changes the user")
    async with house.broker.running() as broker:
        status = await asyncio.to_thread(Path(f"/proc/{broker.pid}/status").read_text)
        assert f"Uid:\t{account.user_id}\t{account.user_id}\t{account.user_id}" in status
        assert f"Gid:\t{account.group_id}\t{account.group_id}\t{account.group_id}" in status
        assert "NoNewPrivs:\t1" in status
        folder = broker._folder
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
        assert {path.stat().st_uid for path in [folder, *folder.iterdir()]} == {0}
    if folder != house.settings.folder:
        assert not folder.exists()


async def test_it_dies_with_the_controller(tmp_path: Path) -> None:
    """A controller in a process of its own is killed without a chance to clean up."""
    script = Path(__file__).with_name("start_broker.py")
    controller = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert controller.stdout is not None
        async with asyncio.timeout(30):
            pid, folder = (await controller.stdout.readline()).decode().rstrip().split(" ", 1)
        handle = os.pidfd_open(int(pid))
    finally:
        controller.kill()
        await controller.wait()
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [handle], [], [], 10)
        assert ended == [handle]
    finally:
        os.close(handle)
        shutil.rmtree(folder)
