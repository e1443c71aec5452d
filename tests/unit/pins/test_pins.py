"""Pinned names become files in the runtime, and follow the slots."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest

from skerry_agent.errors import UsageError
from skerry_agent.pins import Pins
from skerry_agent.registry import ModelNotFoundError, Pair, Registry
from skerry_agent.runtime import ModelFile, ModelPool
from support.registry import make_artifact


class FakeRegistry:
    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.listeners: list[Callable[[], None]] = []

    async def find_pair(self, name: str) -> Pair:
        if name not in self.known:
            raise ModelNotFoundError(f"no model {name}")
        ref = self.known[name]
        return Pair(make_artifact(ref, sha=ref))

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def point(self, name: str, ref: str) -> None:
        self.known[name] = ref
        for listener in self.listeners:
            listener()


class FakePool:
    def __init__(self) -> None:
        self.pinned: list[str] = []

    def pin(self, models: Iterable[ModelFile]) -> None:
        self.pinned = [model.label for model in models]


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


def pins(tmp_path: Path, registry: FakeRegistry, pool: FakePool | None, *fixed: str) -> Pins:
    return Pins(tmp_path / "pins.json", fixed, cast("Registry", registry), cast("ModelPool | None", pool))


async def test_a_channel_pins_whatever_it_stands_for(
    tmp_path: Path, registry: FakeRegistry, pool: FakePool
) -> None:
    registry.known = {"assistant": "smol@1", "smol@1": "smol@1"}
    kept = pins(tmp_path, registry, pool, "assistant", "smol@1", "unknown")
    task = asyncio.create_task(kept.run())
    await asyncio.sleep(0)
    assert pool.pinned == ["smol@1"]
    registry.point("assistant", "smol@2")
    registry.point("unknown", "other@1")
    for _ in range(3):
        await asyncio.sleep(0)
    assert pool.pinned == ["smol@2", "smol@1", "other@1"]
    task.cancel()
    await asyncio.wait({task})
    assert registry.listeners == []


async def test_a_person_s_pin_outlives_the_daemon(
    tmp_path: Path, registry: FakeRegistry, pool: FakePool
) -> None:
    registry.known = {"a": "a@1", "b": "b@1"}
    await pins(tmp_path, registry, None).add("a")
    again = pins(tmp_path, registry, pool, "b")
    assert again.names() == ("b", "a")
    await again.add("a")
    assert pool.pinned == ["b@1", "a@1"]
    await again.remove("a")
    assert pool.pinned == ["b@1"]
    assert pins(tmp_path, registry, None).names() == ()


async def test_what_cannot_be_pinned_or_unpinned_is_said(
    tmp_path: Path, registry: FakeRegistry, pool: FakePool
) -> None:
    kept = pins(tmp_path, registry, pool, "b")
    with pytest.raises(ModelNotFoundError):
        await kept.add("a")
    with pytest.raises(UsageError, match="'a' is not pinned; pinned are: b"):
        await kept.remove("a")
    with pytest.raises(UsageError, match=r"setting runtime\.pinned"):
        await kept.remove("b")


def test_a_damaged_file_pins_nothing(tmp_path: Path, registry: FakeRegistry) -> None:
    (tmp_path / "pins.json").write_text("{")
    assert pins(tmp_path, registry, None).names() == ()
