import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import psutil
import pytest

from skerry_agent.runtime import RuntimeMetrics
from skerry_agent.telemetry import Machine, Sampler, SamplerLimits, read_inventory, runtime_metrics
from skerry_agent.telemetry.machine import METRIC_NAMES

UNITS = ("_percent", "_1m", "_bytes", "_celsius", "_s", "_total", "_per_s", "_ms", "_requests", "_models")


@contextmanager
def running(sampler: Sampler) -> Iterator[asyncio.Task[None]]:
    task = asyncio.create_task(sampler.run())
    try:
        yield task
    finally:
        task.cancel()


def test_the_machine_gives_plausible_metrics_with_units(tmp_path: Path) -> None:
    metrics = Machine(tmp_path).sample()
    assert metrics.keys() <= METRIC_NAMES
    assert METRIC_NAMES - metrics.keys() <= {"temperature_celsius"}
    assert 0 <= metrics["cpu_percent"] <= 100
    assert 10e6 < metrics["process_rss_bytes"] < psutil.virtual_memory().total
    assert metrics["disk_free_bytes"] > 0
    assert metrics["uptime_s"] > 0


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    metrics = Machine(tmp_path / "gone").sample()
    assert "disk_free_bytes" not in metrics
    assert "cpu_percent" in metrics


def test_implausible_sensors_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [SimpleNamespace(current=value) for value in (-273.0, 48.5, 51.0, 65535.0, None)]
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"cpu": readings})
    assert Machine(tmp_path).sample()["temperature_celsius"] == 51.0


def figures(**changes: float | None) -> RuntimeMetrics:
    names = RuntimeMetrics.__dataclass_fields__
    return RuntimeMetrics(**(dict.fromkeys(names, 1) | changes))  # type: ignore[arg-type]  # numbers all


def test_runtime_figures_become_metrics_and_unmeasured_ones_are_absent() -> None:
    metrics = runtime_metrics(figures(requests=7, last_tokens_per_s=None))
    assert metrics["requests_total"] == 7.0
    assert "decode_tokens_per_s" not in metrics
    assert all(name.endswith(UNITS) for name in metrics)


def test_the_names_of_machine_and_runtime_do_not_collide() -> None:
    assert not METRIC_NAMES & runtime_metrics(figures()).keys()


async def test_samples_are_taken_at_once_and_again_at_every_interval() -> None:
    samples: list[dict[str, float]] = []
    third = asyncio.Event()

    def add(sample: dict[str, float]) -> None:
        samples.append(sample)
        if len(samples) >= 3:
            third.set()

    sampler = Sampler(
        lambda: {"load_1m": 0.5}, lambda: {"requests_total": 2.0}, add, SamplerLimits(sample_interval_s=0.02)
    )
    with running(sampler) as task:
        await asyncio.wait_for(third.wait(), 5)
    with suppress(asyncio.CancelledError):
        await task
    assert samples[0] == {"load_1m": 0.5, "requests_total": 2.0}


async def test_sampling_goes_on_after_the_system_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = timedelta()

    class SettableClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + moved

    for part in ("schedulers.base", "triggers.interval", "executors.base"):
        monkeypatch.setattr(f"apscheduler.{part}.datetime", SettableClock)
    taken: asyncio.Queue[dict[str, float]] = asyncio.Queue()
    limits = SamplerLimits(sample_interval_s=0.02, read_timeout_s=0.1)
    with running(Sampler(dict, dict, taken.put_nowait, limits)):
        await asyncio.wait_for(taken.get(), 5)
        await asyncio.wait_for(taken.get(), 5)
        moved = timedelta(days=-5000)
        while not taken.empty():
            taken.get_nowait()
        for _ in range(3):
            await asyncio.wait_for(taken.get(), 5)


async def test_a_failing_reader_skips_the_sample_and_nothing_else() -> None:
    samples: list[dict[str, float]] = []
    answers: list[float | None] = [None, 1.0]

    def machine() -> dict[str, float]:
        answer = answers.pop(0)
        if answer is None:
            raise ZeroDivisionError
        return {"load_1m": answer}

    sampler = Sampler(machine, dict, samples.append)
    assert not await sampler.sample_once()
    assert await sampler.sample_once()
    assert samples == [{"load_1m": 1.0}]


async def test_a_reader_that_hangs_is_not_started_again() -> None:
    release = threading.Event()
    calls: list[int] = []

    def machine() -> dict[str, float]:
        calls.append(1)
        release.wait(10)
        return {}

    sampler = Sampler(machine, dict, lambda _sample: None, SamplerLimits(read_timeout_s=0.02))
    assert not await sampler.sample_once()
    assert not await sampler.sample_once()
    release.set()
    assert len(calls) == 1


def test_the_inventory_names_the_machine(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nModel : Raspberry Pi 5 Model B\n")
    inventory = read_inventory(tmp_path, root=tmp_path)
    assert inventory.os == "Debian GNU/Linux 12 (bookworm)"
    assert inventory.cpu_model == "Raspberry Pi 5 Model B"
    assert inventory.cpu_count >= 1
    assert inventory.memory_bytes > 0
    assert inventory.disk_bytes > 0


def test_the_inventory_of_a_bare_machine_is_not_an_error(tmp_path: Path) -> None:
    inventory = read_inventory(tmp_path / "gone", root=tmp_path)
    assert inventory.disk_bytes == 0
    assert inventory.os
