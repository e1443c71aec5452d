"""Bytes of blobs over HTTP range requests, at addresses that a capability gives.

``requests`` blocks, so every wait for the network is in a worker thread; one piece at a time is in memory.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from skerry_agent.backoff import full_jitter
from skerry_agent.updates.ports import P, SourceError
from skerry_agent.updates.sources.http_reader import (
    BrokenOffError,
    ExpiredError,
    HttpLimits,
    HttpReader,
    OpenSession,
)
from skerry_agent.updates.sources.spans import stretches
from skerry_agent.updates.traffic import Traffic
from skerry_protocol.requests import Capability

log = structlog.get_logger(__name__)


class CapabilityProvider(Protocol):
    """Hands out short-lived addresses (``skerry_agent.sync.Requester``)."""

    async def capability(self, sha256: str) -> Capability:
        """Addresses of a blob.

        Raises:
            AgentError: The controller cannot be asked, or has none.
        """


class HttpSource:
    """The faster path where the controller's listener, or a CDN, can be reached.

    Args:
        capabilities: Where addresses come from.
        open_session: Makes sessions.
        traffic: Counts bytes, and says how fast they may come.
        limits: Times and bounds.
        monotonic: For the rest after a failure.
        uniform: Random numbers between two, for pauses.
    """

    name = "http"

    def __init__(
        self,
        capabilities: CapabilityProvider,
        open_session: OpenSession,
        *,
        traffic: Traffic | None = None,
        limits: HttpLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._capabilities = capabilities
        self._open_session = open_session
        self._traffic = traffic or Traffic()
        self._limits = limits or HttpLimits()
        self._monotonic = monotonic
        self._uniform = uniform
        self._failures = 0
        self._rests_until = 0.0

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of a blob, from the first address that works.

        Raises:
            SourceError: No address works, or the source rests after a failure. Other ``AgentError``s come
                from the provider of capabilities.
        """
        rest_s = self._rests_until - self._monotonic()
        if rest_s > 0:
            raise SourceError(f"failed before; asked again in {rest_s:.0f} s", retry_after_s=rest_s)
        missing = dict.fromkeys(sorted(pieces, key=lambda piece: piece.offset))
        problem = SourceError("the controller gave no address")
        for _ in range(2):
            capability = await self._capabilities.capability(blob_sha256)
            expired = False
            for url in capability.urls:
                try:
                    reading = self._read_from(url, capability.authority_pem, missing)
                    async with aclosing(reading):
                        async for found in reading:
                            self._failures = 0
                            yield found
                except SourceError as error:
                    problem, expired = error, expired or isinstance(error, ExpiredError)
                    log.info("http_source_failed", error=str(problem))
                if not missing:
                    return
            if not expired:
                break
        raise SourceError(str(problem), retry_after_s=self._rest(problem.retry_after_s))

    def _rest(self, asked_s: float | None) -> float:
        """Do not ask for a while; where the server said how long, not before, and not all at that moment."""
        limits = self._limits
        pause_s = full_jitter(self._failures, limits.rest_initial_s, limits.rest_max_s, self._uniform)
        if asked_s is not None:
            pause_s = asked_s + self._uniform(0.0, max(limits.rest_initial_s, asked_s / 2))
        self._failures += 1
        self._rests_until = self._monotonic() + pause_s
        return pause_s

    async def _read_from(
        self, url: str, authority_pem: str | None, missing: dict[P, None]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        """Read what is missing from one address; what came is taken out of ``missing``."""
        limits = self._limits
        reader = await asyncio.to_thread(
            lambda: HttpReader(
                self._open_session,
                authority_pem,
                url,
                source=self.name,
                traffic=self._traffic,
                limits=limits,
            )
        )
        attempts = 0
        try:
            while missing:
                before = reader.useful_bytes
                try:
                    async with aclosing(self._attempt(reader, missing)) as arriving:
                        async for found in arriving:
                            yield found
                except BrokenOffError as error:
                    attempts = 1 if reader.useful_bytes - before >= limits.progress_bytes else attempts + 1
                    if not reader.answered or attempts >= limits.max_attempts:
                        raise
                    log.info("http_attempt_failed", error=str(error), attempts=attempts)
                    await asyncio.sleep(
                        full_jitter(attempts - 1, limits.retry_initial_s, limits.retry_max_s, self._uniform)
                    )
        finally:
            # Not in a thread: when this was cancelled, a thread may still wait for the network.
            reader.close()

    async def _attempt(
        self, reader: HttpReader, missing: dict[P, None]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        for stretch in stretches(list(missing), self._limits.max_range_bytes):
            begun = reader.begun_bytes(stretch.pieces[0])
            got = await asyncio.to_thread(reader.request, stretch.offset + begun, stretch.length - begun)
            wanted: Sequence[P] = stretch.pieces
            if got == "whole":
                # The server ignores ranges: all that is wanted comes by in the one answer.
                wanted = list(missing)
                self._check_waste(wanted, begun)
            for piece in wanted:
                data = await asyncio.to_thread(reader.read, piece)
                missing.pop(piece)
                yield piece, data
            if got == "whole":
                return

    def _check_waste(self, wanted: Sequence[P], begun: int) -> None:
        total = wanted[-1].offset + wanted[-1].length
        useful = sum(piece.length for piece in wanted) - begun
        if total - useful > max(useful, self._limits.max_waste_bytes):
            raise SourceError(
                f"the server ignores ranges: {total} bytes would have to be read for {useful} of them"
            )
