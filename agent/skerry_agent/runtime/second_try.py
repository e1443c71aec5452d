"""Asks a fresh runner when the first one ended before it had begun a request: nobody has to know of that.

A request that had begun is not asked again. It may be what ended the runner, and its client may have seen a
part of the answer.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import msgspec
import structlog

from skerry_agent.runtime.errors import QueueFullError, RunnerCrashedError
from skerry_agent.runtime.requests import (
    EmbedRequest,
    EmbedResult,
    GenerateEvent,
    GenerateRequest,
)
from skerry_agent.runtime.runner import Runner

log = structlog.get_logger(__name__)

LeaseAgain = Callable[[], AbstractAsyncContextManager[Runner]]
"""Lends a runner of the same model: the one that was started in place of the first."""


async def generate(
    runner: Runner, request: GenerateRequest, lease_again: LeaseAgain
) -> AsyncGenerator[GenerateEvent, None]:
    """As ``runner.generate``, with a second try.

    Raises:
        As ``Runner.generate`` and ``ModelPool.lease``. RunnerCrashedError only when the request had begun,
        or the second runner ended as well.
    """
    began = time.monotonic()
    try:
        async with aclosing(runner.generate(request)) as events:
            async for event in events:
                yield event
            return
    except RunnerCrashedError as error:
        if error.started:
            raise
        request = _with_time_left(request, time.monotonic() - began, error)
        log.info("request_repeated", model=runner.model.label)
    async with lease_again() as fresh, aclosing(fresh.generate(request)) as events:
        async for event in events:
            yield event


async def embed(runner: Runner, request: EmbedRequest, lease_again: LeaseAgain) -> EmbedResult:
    """As ``runner.embed``, with a second try; raises as ``generate``."""
    try:
        return await runner.embed(request)
    except RunnerCrashedError as error:
        if error.started:
            raise
        log.info("request_repeated", model=runner.model.label)
    async with lease_again() as fresh:
        return await fresh.embed(request)


def _with_time_left(request: GenerateRequest, waited_s: float, error: RunnerCrashedError) -> GenerateRequest:
    """The request with what is left of the time that it may wait for its turn."""
    if request.deadline_s is None:
        return request
    left_s = request.deadline_s - waited_s
    if left_s <= 0:
        message = f"its turn did not come within {request.deadline_s:g} s, in which {error}"
        raise QueueFullError(message, retry_after_s=1.0) from error
    return msgspec.structs.replace(request, deadline_s=left_s)
