"""A runner that is killed, as programs on the device see it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.fleet import Device, http_json
from support.tiny_gguf import write_tiny_gguf

OPENAI = "/v1/completions"
OLLAMA = "/api/generate"


@pytest.fixture
def one_at_a_time(tmp_path: Path) -> Iterator[Device]:
    settings = {"THREADS": "1", "SLOTS": "1", "CONTEXT_TOKENS": "32768"}
    device = Device.in_folder(
        tmp_path, "box", {f"SKERRY_AGENT_RUNTIME__{name}": value for name, value in settings.items()}
    )
    device.start()
    try:
        model = write_tiny_gguf(tmp_path / "long.gguf", context=32768, eos_lean=-100.0)
        device.run("import", model, "--name", "long@1")
        device.run("activate", "long@1")
        yield device
    finally:
        device.service.stop()


def _runner(device: Device) -> dict[str, Any]:
    found: dict[str, Any] = http_json(f"{device.url}/health")["runners"][0]
    return found


async def _until_waiting(device: Device, count: int) -> None:
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(_runner, device))["queue"] < count:  # noqa: ASYNC110 - counts have no events
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _endless(client: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[str]]:
    async with client.stream("POST", OPENAI, json=_body(stream=True, max_tokens=30_000)) as response:
        lines = response.aiter_lines()
        await anext(lines)
        yield lines


def _body(**fields: object) -> dict[str, object]:
    return {"model": "long", "prompt": "Hi", **fields}


async def test_who_waits_does_not_notice_that_the_runner_was_killed(one_at_a_time: Device) -> None:
    device = one_at_a_time
    async with httpx.AsyncClient(base_url=device.url, timeout=60) as client, _endless(client) as lines:
        short = _body(stream=False, max_tokens=3, options={"num_predict": 3})
        waiting = [
            asyncio.create_task(client.post(OPENAI, json=short)),
            asyncio.create_task(client.post(OPENAI, json=_body(stream=True, max_tokens=3))),
            asyncio.create_task(client.post(OLLAMA, json=short)),
        ]
        await _until_waiting(device, 3)
        (status,) = (await asyncio.to_thread(device.json, "status"))["runners"]
        os.kill(status["pid"], signal.SIGKILL)
        errors = [line async for line in lines if "runner_crashed" in line]
        assert len(errors) == 1
        answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json()["usage"]["completion_tokens"] == 3
    assert answers[1].text.rstrip().endswith("[DONE]")
    assert answers[2].json()["eval_count"] == 3
    assert _runner(device)["restarts"] == 1
