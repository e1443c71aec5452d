"""``POST /api/pull``: what the fleet chose for a channel, with Ollama's lines of progress.

A client's wish is no signature: it only makes the device look now, instead of after its pause.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from skerry_agent.api.answering import Answering
from skerry_agent.api.decoding import decode_body
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.names import canonical_name
from skerry_agent.api.ollama.wire import NDJSON, JsonAnswer, Object, error_line, line
from skerry_agent.api.parts import ApiParts
from skerry_agent.api.ports import FleetUpdates
from skerry_agent.errors import AgentError, UsageError
from skerry_agent.registry import ModelNotFoundError
from skerry_protocol.names import LOCAL_PREFIX
from skerry_protocol.reported import TERMINAL_STATES, SlotReport

POLL_S = 0.25
"""How often the progress is looked at."""
SUCCESS: Object = {"status": "success"}

_STATES = {
    "resolving": "pulling manifest",
    "checking": "pulling manifest",
    "verifying": "verifying sha256 digest",
    "staged": "waiting for the update window",
    "trial": "running acceptance checks",
}


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /api/pull``; ``name`` is the older word for ``model``."""

    model: str = ""
    name: str = ""
    stream: bool | None = None
    insecure: bool | None = None


async def pull_model(request: Request, answering: Answering, parts: ApiParts) -> Response:
    """``POST /api/pull``."""
    body = decode_body(await request.body(), PullRequest)
    name = canonical_name(body.model or body.name)
    if not name:
        raise BadRequestError("model: a name is needed", "model")
    slot = await _slot(name, answering, parts.fleet())
    lines = _follow(slot, parts, answering.timeout_s)
    if body.stream is not False:
        return StreamingResponse(_encoded(lines), media_type=NDJSON)
    async for _ in lines:
        pass
    return JsonAnswer(SUCCESS)


async def _slot(name: str, answering: Answering, fleet: FleetUpdates | None) -> str | None:
    """The channel that a name means; None when the model is here and belongs to no channel.

    Raises:
        UsageError: The fleet gives this device nothing of that name.
    """
    channels = [slot for slot in (fleet.reports() if fleet else {}) if not slot.startswith(LOCAL_PREFIX)]
    for channel in channels:
        if name in (channel, channel.partition("/")[0]):
            return channel
    try:
        await answering.catalog.resolve(name)
    except ModelNotFoundError as error:
        if fleet is None:
            raise UsageError(
                f"{name} cannot be pulled: this device belongs to no fleet; enroll it, or import a file"
            ) from error
        raise ModelNotFoundError(
            f"the fleet gives this device no channel {name!r}; it gives {', '.join(channels) or 'none yet'}"
        ) from error
    return None


async def _encoded(lines: AsyncIterator[Object]) -> AsyncIterator[bytes]:
    try:
        async for state in lines:
            yield line(state)
    except AgentError as error:
        yield error_line(error)


async def _follow(slot: str | None, parts: ApiParts, timeout_s: float) -> AsyncIterator[Object]:
    """What happens to a slot until it has what is wanted, as Ollama would say it.

    Raises:
        UsageError: The version was refused, or it takes too long.
    """
    yield {"status": "pulling manifest"}
    fleet = parts.fleet()
    if slot is not None and fleet is not None:
        fleet.nudge()
        last: Object = {}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (report := _report(parts.fleet(), slot)).state not in TERMINAL_STATES:
            shown = _shown(report)
            if shown != last:
                yield shown
            last = shown
            if loop.time() > deadline:
                raise UsageError(f"{slot} is still {report.state}; it goes on by itself, pull again to watch")
            await asyncio.sleep(POLL_S)
        if report.state in ("refused", "rolled_back"):
            why = report.reason.message if report.reason else "see skerry-agent events"
            raise UsageError(f"{slot} was {report.state.replace('_', ' ')}: {why}")
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    yield SUCCESS


def _report(fleet: FleetUpdates | None, slot: str) -> SlotReport:
    reports: Mapping[str, SlotReport] = fleet.reports() if fleet else {}
    if slot not in reports:
        raise UsageError(f"the fleet does not give this device {slot} any more")
    return reports[slot]


def _shown(report: SlotReport) -> Object:
    if report.state != "downloading":
        return {"status": _STATES.get(report.state, report.state)}
    digest = report.target_sha256 or ""
    progress: Object = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}"}
    return {**progress, "total": report.bytes_total, "completed": report.bytes_done}
