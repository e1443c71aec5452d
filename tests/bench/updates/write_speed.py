"""How fast a download is hashed and written, beside ``sha256sum`` and ``cp`` of the same file."""

import mmap
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry_agent.registry import Registry, RegistryLimits
from skerry_protocol.chunking import chunk_file, plan_chunks
from skerry_protocol.gguf_header import read_gguf_header
from skerry_protocol.manifest import Chunk

ROUNDS: Final = 5


@dataclass(frozen=True)
class WriteSpeed:
    """Seconds in each round: ours from the first chunk to the file in its place, synced and hashed again."""

    file_bytes: int
    ours_s: list[float]
    sha256sum_s: list[float]
    copy_s: list[float]
    sync_s: list[float]

    @property
    def share(self) -> float:
        """Our speed as a share of sha256sum's and cp's together, which sync nothing; the median."""
        rounds = zip(self.ours_s, self.sha256sum_s, self.copy_s, strict=True)
        return statistics.median((hashed + copied) / ours for ours, hashed, copied in rounds)


async def measure(file: Path, folder: Path) -> WriteSpeed:
    """In turns, so that a slow moment of the machine hits all."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        chunked = chunk_file(data, plan_chunks(len(data), read_gguf_header(data)))
        chunks = [Chunk(*chunk) for chunk in chunked.chunks]
        speed = WriteSpeed(len(data), [], [], [], [])
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory(dir=folder) as name:
                copy = Path(name) / "copy"
                speed.sha256sum_s.append(_seconds("sha256sum", file))
                speed.copy_s.append(_seconds("cp", file, copy))
                speed.sync_s.append(_seconds("sync", copy))
                copy.unlink()
                speed.ours_s.append(await _ours(Path(name), chunked.sha256, chunks, data))
    return speed


async def _ours(folder: Path, sha256: str, chunks: list[Chunk], data: mmap.mmap) -> float:
    registry = await Registry.open(folder / "registry", limits=RegistryLimits(min_free_bytes=0))
    try:
        partial = await registry.open_partial(sha256, len(data), chunks)
        began = time.monotonic()
        for chunk in partial.missing():
            await partial.write(chunk, data[chunk.offset : chunk.offset + chunk.length])
        await partial.finish()
        return time.monotonic() - began
    finally:
        await registry.close()


def _seconds(*command: str | Path) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began
