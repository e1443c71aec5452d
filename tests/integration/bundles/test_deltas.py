"""A fine-tune travels as the delta that it costs over a network."""

from pathlib import Path

from skerry_protocol.bundle import decode_index
from support.air_gap import Hut, Office


async def test_a_fine_tune_costs_on_the_stick_what_it_costs_online(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    whole = await office.export("1", tmp_path / "one", devices=[hut.device])
    assert whole["deltas"] == []
    await hut.take_in(tmp_path / "one")
    delta = await office.publish_tuned("2", "1")
    await office.point_channel("2")
    made = await office.export("2", tmp_path / "two", devices=[hut.device], base=["tiny@1"])
    assert made["deltas"] == [delta.target_path]
    assert made["chunk_bytes"] == delta.pack_length + delta.whole_bytes < whole["chunk_bytes"] / 5
    index = decode_index((tmp_path / "two" / "chunks.json").read_bytes())
    assert delta.pack_sha256 in {chunk.sha256 for chunk in index.chunks}

    result = await hut.take_in(tmp_path / "two")
    assert (result["outcome"], hut.active) == ("committed", "tiny@2")
    assert result["chunk_bytes"] == made["chunk_bytes"]


async def test_without_a_base_or_on_a_device_without_it_the_delta_is_no_use(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.publish_tuned("2", "1")
    await office.point_channel("2")
    await office.export("2", tmp_path / "thin", devices=[hut.device], base=["tiny@1"])
    result = await hut.take_in(tmp_path / "thin")
    assert (result["outcome"], result["code"], hut.active) == ("failed", "bundle_incomplete", None)
    assert "--base" in result["message"]
    made = await office.export("2", tmp_path / "whole", devices=[hut.device])
    assert made["deltas"] == []
    result = await hut.take_in(tmp_path / "whole")
    assert (result["outcome"], hut.active) == ("committed", "tiny@2")


async def test_a_damaged_delta_is_named_and_the_next_copy_goes_on(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    await office.export("1", tmp_path / "one", devices=[hut.device])
    await hut.take_in(tmp_path / "one")
    await office.publish_tuned("2", "1")
    await office.point_channel("2")
    made = await office.export("2", tmp_path / "two", devices=[hut.device], base=["tiny@1"])
    pack = tmp_path / "two" / "chunks-0001.bin"
    genuine = pack.read_bytes()
    pack.write_bytes(genuine[:-9] + bytes([genuine[-9] ^ 1]) + genuine[-8:])
    result = await hut.take_in(tmp_path / "two")
    assert (result["outcome"], result["code"], hut.active) == ("failed", "bundle_incomplete", "tiny@1")
    assert "damaged" in result["message"]
    pack.write_bytes(genuine)
    result = await hut.take_in(tmp_path / "two")
    assert (result["outcome"], hut.active) == ("committed", "tiny@2")
    assert 0 < result["chunk_bytes"] < made["chunk_bytes"]
