import asyncio
import os
import socket
from pathlib import Path

import pytest

from skerry_agent.daemon.notify import ServiceNotifier


@pytest.fixture
def systemd(tmp_path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5)
    return listener


def test_messages_reach_the_socket_of_systemd(systemd: socket.socket) -> None:
    with systemd:
        ServiceNotifier({"NOTIFY_SOCKET": systemd.getsockname()}).send("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_an_abstract_socket_works_too() -> None:
    name = f"skerry-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        ServiceNotifier({"NOTIFY_SOCKET": f"@{name}"}).send("STOPPING=1")
        assert listener.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    ServiceNotifier(environment).send("READY=1")


async def test_the_watchdog_is_fed_at_half_its_interval(systemd: socket.socket) -> None:
    with systemd:
        environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "20000"}
        task = asyncio.create_task(ServiceNotifier(environment).watchdog())
        for _ in range(3):
            assert await asyncio.to_thread(systemd.recv, 100) == b"WATCHDOG=1"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_without_a_watchdog_its_task_just_ends() -> None:
    await ServiceNotifier({}).watchdog()
