"""A device that is killed while it refreshes: whatever had been reported as done is there afterwards."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_agent.trust import TrustedTime, TrustStore

CHILD = """
import asyncio, json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[2])
from skerry_agent.trust import FilesSource, TrustedTime, TrustStore
from support.tuf_repository import START, TufRepository

async def main(folder):
    time = TrustedTime(folder / "time.json", START.timestamp)
    store, repository = TrustStore(folder / "trust", time), TufRepository()
    source = FilesSource(repository.files)
    await store.bootstrap(repository.initial_root, repository.initial_root_sha256, source)
    while True:
        repository.put_target("models/smol/1.json", str(repository.timestamp.version).encode())
        repository.publish("models", "configs")
        print(json.dumps(await store.refresh(source)), flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def refresh_until_killed(folder: Path, rounds: int) -> list[dict[str, int]]:
    """What the child reported as done before it was killed, at least ``rounds`` refreshes."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), json.dumps(sys.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    try:
        reported = [json.loads(child.stdout.readline()) for _ in range(rounds)]
    finally:
        child.kill()
        rest, _ = child.communicate(timeout=10)
    return reported + [json.loads(line) for line in rest.splitlines() if line.endswith("}")]


@pytest.mark.parametrize("rounds", [1, 2, 7, 20])
async def test_a_kill_during_a_refresh_leaves_a_state_that_loads(tmp_path: Path, rounds: int) -> None:
    reported = await asyncio.to_thread(refresh_until_killed, tmp_path, rounds)
    store = TrustStore(tmp_path / "trust", TrustedTime(tmp_path / "time.json"))
    assert await store.load() == "loaded"
    assert store.versions["models"] >= reported[-1]["models"]
    assert store.versions["models"] == store.versions["configs"]
    assert store.target("models/smol/1.json") is not None
