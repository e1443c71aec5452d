"""A slot is a model with its adapters: fetched, tried, switched and rolled back as one version."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_agent.registry import ModelInUseError
from skerry_protocol.reported import SlotReport
from support.lora_gguf import write_lora_gguf
from support.updates import CHANNEL, Published, World, failed, make_model, publish


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(make_model(tmp_path_factory.mktemp("base"), 1), "smol@1")


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory, smol: Published) -> list[Published]:
    folder = tmp_path_factory.mktemp("adapters")
    base = folder / "base.gguf"
    base.write_bytes(smol.data)
    files = [write_lora_gguf(folder / f"{seed}.gguf", base, seed=seed) for seed in (1, 2)]
    return [
        publish(file.read_bytes(), f"german@{number}", base=smol.entry.sha256)
        for number, file in enumerate(files, start=1)
    ]


def served(report: SlotReport) -> list[str]:
    assert report.active is not None
    return [report.active.ref, *(adapter.ref for adapter in report.active.adapters)]


async def test_a_model_and_its_adapter_are_fetched_tried_and_committed_together(
    world: World, smol: Published, german: list[Published]
) -> None:
    for published in (smol, german[0]):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, german[0])})
    report = await world.settled()

    assert report.state == "committed"
    assert served(report) == ["smol@1", "german@1"]
    assert report.adapters == (german[0].target.sha256,)
    assert report.bytes_total == len(smol.data) + len(german[0].data) == report.bytes_done
    assert world.trier.adapters == [[german[0].entry.sha256]]
    with pytest.raises(ModelInUseError):
        await world.registry.remove("smol@1")


async def test_a_change_of_the_adapter_alone_moves_only_its_bytes_and_can_be_rolled_back(
    world: World, smol: Published, german: list[Published]
) -> None:
    for published in (smol, *german):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, german[0])})
    await world.settled()
    world.sources[0].served.clear()
    await world.follow(2, {CHANNEL: (smol, german[1])})
    report = await world.until_true(
        lambda report: report.state == "committed" and report.adapters == (german[1].target.sha256,)
    )

    moved = {file for file, _ in world.sources[0].served}
    assert moved == {german[1].entry.sha256}
    assert served(report) == ["smol@1", "german@2"]
    slot = await world.engine.rollback(CHANNEL)
    assert slot.serving is not None
    assert slot.serving.text == "smol@1+german@1"
    back = world.engine.reports()[CHANNEL]
    assert back.state == "rolled_back"
    assert served(back) == ["smol@1", "german@1"]
    # It is held until the operator says so, and is not confused with the pair before.
    await world.follow(3, {CHANNEL: (smol, german[0])})
    await world.until("committed")
    await world.follow(4, {CHANNEL: (smol, german[1])})
    assert (await world.until("rolled_back")).reason is not None
    await world.follow(5, {CHANNEL: (smol, german[1])}, attempt=2)
    assert served(await world.until("committed")) == ["smol@1", "german@2"]


async def test_the_plain_base_follows_a_pair_and_a_pair_the_plain_base(
    world: World, smol: Published, german: list[Published]
) -> None:
    for published in (smol, german[0]):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: smol})
    assert served(await world.settled()) == ["smol@1"]
    await world.follow(2, {CHANNEL: (smol, german[0])})
    await world.until_true(lambda report: report.state == "committed" and bool(report.adapters))
    assert served(world.engine.reports()[CHANNEL]) == ["smol@1", "german@1"]
    await world.follow(3, {CHANNEL: smol})
    await world.until_true(lambda report: report.state == "committed" and not report.adapters)
    assert served(world.engine.reports()[CHANNEL]) == ["smol@1"]


async def test_a_pair_that_fails_its_trial_leaves_the_pair_before(
    world: World, smol: Published, german: list[Published]
) -> None:
    for published in (smol, *german):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, german[0])})
    await world.settled()
    world.trier.outcomes.append(failed())
    await world.follow(2, {CHANNEL: (smol, german[1])})
    report = await world.until("rolled_back")

    assert report.reason is not None
    assert report.reason.code == "too_slow"
    assert served(report) == ["smol@1", "german@1"]


async def test_an_adapter_of_another_model_is_refused_before_its_first_byte(
    world: World, tmp_path: Path, smol: Published, german: list[Published]
) -> None:
    other = publish(make_model(tmp_path, 2), "other@1")
    for published in (smol, other, german[0]):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (other, german[0])})
    report = await world.settled()

    assert report.reason is not None
    assert report.reason.code == "wrong_base"
    assert world.sources[0].calls == 0


async def test_a_model_in_the_place_of_an_adapter_is_refused(world: World, smol: Published) -> None:
    two = publish(smol.data, "two@1")
    for published in (smol, two):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, two)})
    report = await world.settled()

    assert report.reason is not None
    assert report.reason.code == "unsupported_kind"


async def test_an_adapter_whose_header_does_not_fit_is_refused_when_it_is_here(
    world: World, tmp_path: Path, smol: Published
) -> None:
    wide = make_model(tmp_path, 3)
    base = tmp_path / "wide.gguf"
    base.write_bytes(wide)
    liar = write_lora_gguf(tmp_path / "liar.gguf", base, overrides={"general.architecture": "gemma3"})
    published = publish(liar.read_bytes(), "liar@1", base=smol.entry.sha256)
    for each in (smol, published):
        world.publish(each)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, published)})
    report = await world.settled()

    assert report.reason is not None
    assert report.reason.code == "bad_model"
    assert "gemma3" in report.reason.message


async def test_a_pair_survives_a_crash_at_any_store(
    world: World, smol: Published, german: list[Published]
) -> None:
    for published in (smol, german[0]):
        world.publish(published)
    await world.start()
    await world.follow(1, {CHANNEL: (smol, german[0])})
    for _ in range(4):
        await world.restart()
    report = await world.settled()

    assert served(report) == ["smol@1", "german@1"]
