import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from skerry_agent.errors import WorldError
from skerry_agent.sync.errors import InboxOverflowError
from skerry_agent.sync.inbox import Inbox


@asynccontextmanager
async def running(inbox: Inbox) -> AsyncIterator[None]:
    task = asyncio.create_task(inbox.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def nothing(_payload: bytes) -> None:
    pass


async def test_messages_are_handled_in_order_and_errors_end_nothing() -> None:
    handled: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(payload: bytes) -> None:
        if payload == b"world":
            raise WorldError("the disk is full")
        if payload == b"bug":
            raise ZeroDivisionError
        handled.put_nowait(payload)

    inbox = Inbox("ack", handle, max_messages=10, max_bytes=100)
    async with running(inbox):
        for payload in (b"1", b"world", b"2", b"bug", b"3"):
            inbox.put(payload)
        async with asyncio.timeout(5):
            assert [await handled.get() for _ in range(3)] == [b"1", b"2", b"3"]


def test_too_many_messages_are_an_error_and_none_is_dropped_in_silence() -> None:
    inbox = Inbox("ack", nothing, max_messages=2, max_bytes=100)
    inbox.put(b"1")
    inbox.put(b"2")
    with pytest.raises(InboxOverflowError, match="ack"):
        inbox.put(b"3")


def test_too_many_bytes_are_an_error() -> None:
    inbox = Inbox("ack", nothing, max_messages=9, max_bytes=10)
    inbox.put(b"123456")
    with pytest.raises(InboxOverflowError):
        inbox.put(b"12345")
