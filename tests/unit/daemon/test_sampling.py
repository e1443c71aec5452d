import asyncio
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skerry_agent.daemon import local
from skerry_agent.daemon.local import LocalDevice
from skerry_agent.settings import AgentSettings
from skerry_agent.state import StateFolder


async def test_a_sampler_that_cannot_run_does_not_keep_the_loop_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    class BrokenSampler:
        def __init__(self, *_: Any) -> None:
            nonlocal made
            made += 1

        async def run(self) -> None:
            raise OverflowError("an interval of for ever")

    monkeypatch.setattr(local, "Sampler", BrokenSampler)
    settings = AgentSettings()
    parts: dict[str, Any] = {part.name: None for part in fields(LocalDevice) if not part.name.startswith("_")}
    parts |= {
        "settings": settings,
        "state": StateFolder(tmp_path),
        "outbox": SimpleNamespace(add_sample=lambda _metrics: None),
    }
    device = LocalDevice(**parts)
    task = asyncio.create_task(device.sample())
    for _ in range(200):
        await asyncio.sleep(0)
    assert made == 1
    device.resample(settings)
    for _ in range(200):
        await asyncio.sleep(0)
    assert made == 2, "other settings are tried at once"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
