"""Chunks that files on this device already have."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence

import structlog

from skerry_agent.registry import ChunkPlace, Registry
from skerry_protocol.manifest import Chunk

log = structlog.get_logger(__name__)


class LocalSource:
    """Reads chunks out of installed files, by the registry's index; leaves decayed ones to others."""

    name = "local"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def fetch(
        self,
        file_sha256: str,  # noqa: ARG002 - any file will do
        chunks: Sequence[Chunk],
    ) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        """Yield the chunks that are here, checked."""
        places = await self._registry.locate_chunks([chunk.sha256 for chunk in chunks])
        for chunk in chunks:
            found = places.get(chunk.sha256)
            if found:
                data = await asyncio.to_thread(_read, chunk, found)
                if data is not None:
                    yield chunk, data


def _read(chunk: Chunk, places: Sequence[ChunkPlace]) -> bytes | None:
    for place in places:
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                data = file.read(place.length)
        except OSError as error:
            log.warning("local_chunk_unreadable", path=str(place.path), error=str(error))
            continue
        if len(data) == chunk.length and hashlib.sha256(data).hexdigest() == chunk.sha256:
            return data
        log.warning("local_chunk_decayed", path=str(place.path), offset=place.offset)
    return None
