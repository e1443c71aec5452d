import asyncio
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.serve.listeners import Listener, bind
from skerry_controller.serve.notify import notify, watchdog_interval_s


def test_a_taken_port_is_named_with_its_setting() -> None:
    with bind("127.0.0.1", 0, "operator") as first:
        port = first.getsockname()[1]
        with pytest.raises(WorldError, match=rf"port {port} .* operator\.port .*SKERRY_OPERATOR__PORT"):
            bind("127.0.0.1", port, "operator")


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(UsageError, match=r"device\.host"):
        bind("192.0.2.1", 0, "device")


async def test_a_stop_lets_a_running_request_finish() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> PlainTextResponse:
        entered.set()
        await leave.wait()
        return PlainTextResponse("done")

    listener = Listener(Starlette(routes=[Route("/", slow)]), bind("127.0.0.1", 0, "x"), stop_timeout_s=10)
    async with asyncio.TaskGroup() as group, httpx.AsyncClient() as client:
        serving = group.create_task(listener.run_until_stopped())
        await listener.ready.wait()
        asked = group.create_task(client.get(f"http://127.0.0.1:{listener.port}/"))
        await entered.wait()
        listener.stop()
        leave.set()
        assert (await asked).text == "done"
        await serving


async def test_a_cancelled_listener_frees_its_port() -> None:
    listener = Listener(Starlette(), bind("127.0.0.1", 0, "x"), stop_timeout_s=10)
    port = listener.port
    serving = asyncio.create_task(listener.run_until_stopped())
    await listener.ready.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    bind("127.0.0.1", port, "x").close()


def test_without_systemd_nobody_is_told() -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert watchdog_interval_s({}) is None


def test_systemd_is_told_in_the_abstract_namespace_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0skerry-test-notify")
        channel.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": "@skerry-test-notify"})
        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_told_twice_in_its_time(environment: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval_s(environment) == interval
