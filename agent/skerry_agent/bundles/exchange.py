"""The daemon asks, the command at the stick does: one step at a time, over the administration socket."""

import asyncio
import base64
from typing import Any, Literal, NamedTuple

from skerry_agent.bundles.files import Progress, StickError
from skerry_agent.bundles.limits import ImportLimits

AnswerStatus = Literal["ok", "missing", "failed"]


class Answer(NamedTuple):
    """What a step came to: bytes that were read, or in UTF-8 what went wrong."""

    status: AnswerStatus
    body: bytes = b""


class Exchange:
    """Implements ``BundleFiles`` for the daemon; the command calls :meth:`turn` for each step.

    Steps are JSON: ``{"do": "read", "name": …, "offset": …, "length": …}``, ``{"do": "write", "name": …,
    "data": base64, "first": …, "last": …}``, ``{"do": "tell", …}``, and in the end ``{"do": "end", …}``.
    """

    def __init__(self, limits: ImportLimits) -> None:
        self._limits = limits
        self._steps: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._gone = False

    async def turn(self, answer: Answer | None) -> dict[str, Any]:
        """Take the answer to the last step (None before the first), and give the next.

        Raises:
            StickError: Nothing came in time.
        """
        if answer is not None:
            self._answers.put_nowait(answer)
        try:
            async with asyncio.timeout(self._limits.answer_timeout_s):
                return await self._steps.get()
        except TimeoutError as error:
            raise StickError("the daemon gave no next step: see its log") from error

    async def read(self, name: str, offset: int, length: int) -> bytes | None:
        """At most ``length`` bytes of a file."""
        answer = await self._ask({"do": "read", "name": name, "offset": offset, "length": length})
        if answer.status == "missing":
            return None
        if len(answer.body) > length:
            raise StickError(f"{name}: more bytes came than were asked for")
        return answer.body

    async def write(self, name: str, data: bytes, *, first: bool, last: bool) -> None:
        """Write the next bytes of a file."""
        text = base64.b64encode(data).decode("ascii")
        await self._ask({"do": "write", "name": name, "data": text, "first": first, "last": last})

    async def tell(self, progress: Progress) -> None:
        """Show how far things are."""
        await self._ask({"do": "tell", **progress})

    def end(self, result: Progress) -> None:
        """The last step."""
        self._steps.put_nowait({"do": "end", **result})

    async def _ask(self, step: dict[str, Any]) -> Answer:
        async with self._one_at_a_time:
            if self._gone:
                raise StickError("the import was broken off")
            self._steps.put_nowait(step)
            try:
                async with asyncio.timeout(self._limits.answer_timeout_s):
                    answer = await self._answers.get()
            except BaseException as error:
                # An answer that comes now would be taken for that to another step.
                self._gone = True
                if isinstance(error, TimeoutError):
                    raise StickError("the command that reads the stick does not answer any more") from error
                raise
        if answer.status == "failed":
            raise StickError(answer.body[:500].decode("utf-8", "replace"))
        return answer
