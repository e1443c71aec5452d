"""The guard in front of the local API, message by message."""

from collections.abc import Iterable

from starlette.types import Message, Receive, Scope, Send

from skerry_agent.api import guard
from skerry_agent.api.guard import Guard

CHUNK = bytes(1000)


class _Client:
    """Sends a body in pieces; notes how many were taken before the answer began."""

    def __init__(self, pieces: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._left = pieces
        self.taken_at_answer: int | None = None
        self.status = 0
        length = str(pieces * len(CHUNK)).encode()
        self.scope: Scope = {
            "type": "http",
            "path": "/v1/models",
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", length), *headers],
        }
        self.taken = 0

    async def receive(self) -> Message:
        self._left -= 1
        self.taken += 1
        return {"type": "http.request", "body": CHUNK, "more_body": self._left > 0}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.taken_at_answer = message["status"], self.taken

    async def ask(self) -> None:
        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            raise AssertionError("it came through")

        await Guard(app, allowed_hosts=frozenset({"127.0.0.1"}), max_body_bytes=5000)(
            self.scope, self.receive, self.send
        )


async def test_a_body_that_nobody_wants_is_read_before_the_refusal_so_that_it_arrives() -> None:
    client = _Client(20)
    await client.ask()
    assert (client.status, client.taken_at_answer) == (413, 20)


async def test_who_asks_first_sends_nothing() -> None:
    client = _Client(20, [(b"expect", b"100-continue")])
    await client.ask()
    assert (client.status, client.taken_at_answer) == (413, 0)


async def test_a_body_that_is_much_too_long_is_not_read() -> None:
    client = _Client(guard.MAX_DISCARDED_BYTES // len(CHUNK) + 1)
    await client.ask()
    assert (client.status, client.taken_at_answer) == (413, 0)
