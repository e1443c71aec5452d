"""Adapters in the registry: imported for a base, active with it, and the base kept while it is needed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_agent.registry import (
    ModelInUseError,
    ModelNotFoundError,
    ModelRefusedError,
    Registry,
    SlotError,
)
from support.lora_gguf import write_lora_gguf
from support.registry import LIMITS, RecordedEvents
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "base.gguf", blocks=1)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return write_lora_gguf(tmp_path_factory.mktemp("adapter") / "adapter.gguf", base)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    opened = await Registry.open(tmp_path / "registry", limits=LIMITS, events=RecordedEvents())
    yield opened
    await opened.close()


async def test_an_imported_adapter_serves_on_its_base_in_its_own_slot(
    registry: Registry, tmp_path: Path, base: Path, adapter: Path
) -> None:
    model = await registry.import_file(base, "smol@1")
    german = await registry.import_file(adapter, "german@1", base="smol")

    assert (german.kind, german.base_sha256, german.license) == ("adapter", model.file_sha256, "apache-2.0")
    assert german.description["rank"] == 4
    slot = await registry.activate_local("german@1")
    assert slot.serving is not None
    assert slot.serving.text == "local/smol@1+local/german@1"
    await registry.close()
    again = await Registry.open(tmp_path / "registry", limits=LIMITS)
    assert (await again.find_pair("german")).text == "local/smol@1+local/german@1"
    assert (await again.find("german")).ref == "local/german@1"
    await again.close()


async def test_an_adapter_is_refused_without_its_base(
    registry: Registry, tmp_path: Path, base: Path, adapter: Path
) -> None:
    await registry.import_file(base, "smol@1")
    other = write_tiny_gguf(tmp_path / "other.gguf", blocks=1, embedding=128)
    await registry.import_file(other, "other@1")

    with pytest.raises(ModelRefusedError, match="say which model"):
        await registry.import_file(adapter, "german@1")
    with pytest.raises(ModelNotFoundError, match="nope"):
        await registry.import_file(adapter, "german@1", base="nope")
    with pytest.raises(ModelRefusedError, match="made for another model"):
        await registry.import_file(adapter, "german@1", base="other")
    with pytest.raises(ModelRefusedError, match="not an adapter"):
        await registry.import_file(other, "german@1", base="smol")
    assert [a.ref for a in await registry.artifacts()] == ["local/other@1", "local/smol@1"]


async def test_a_base_cannot_be_removed_while_an_adapter_needs_it(
    registry: Registry, base: Path, adapter: Path
) -> None:
    await registry.import_file(base, "smol@1")
    await registry.import_file(adapter, "german@1", base="smol")

    with pytest.raises(ModelInUseError, match="base of local/german@1"):
        await registry.remove("local/smol@1")
    await registry.activate_local("german@1")
    with pytest.raises(ModelInUseError, match="local/german"):
        await registry.remove("local/german@1")
    with pytest.raises(ModelInUseError, match="local/german"):
        await registry.remove("local/smol@1")
    await registry.deactivate("local/german")
    await registry.remove("local/german@1")
    await registry.remove("local/smol@1")


async def test_a_pair_is_switched_and_rolled_back_whole(
    registry: Registry, tmp_path: Path, base: Path, adapter: Path
) -> None:
    await registry.import_file(base, "smol@1")
    await registry.import_file(adapter, "german@1", base="smol")
    better = write_lora_gguf(tmp_path / "better.gguf", base, seed=5)
    await registry.import_file(better, "german@2", base="smol")
    await registry.activate_local("german@1")

    slot = await registry.activate_local("german@2")
    assert (slot.serving, slot.before) == (
        await registry.find_pair("german@2"),
        await registry.find_pair("german@1"),
    )
    assert (await registry.activate_local("german@2")).before == slot.before
    back = await registry.rollback("local/german")
    assert back.serving is not None
    assert back.serving.text == "local/smol@1+local/german@1"


async def test_an_adapter_serves_on_no_other_model(
    registry: Registry, tmp_path: Path, base: Path, adapter: Path
) -> None:
    await registry.import_file(base, "smol@1")
    german = await registry.import_file(adapter, "german@1", base="smol")
    await registry.import_file(write_tiny_gguf(tmp_path / "o.gguf", blocks=1, seed=3), "other@1")

    with pytest.raises(SlotError, match="was not made for"):
        await registry.activate("local/german", "local/other@1", adapters=[german])
