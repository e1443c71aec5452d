"""A model with adapters travels as one version; a changed adapter alone costs itself."""

from pathlib import Path

from support.air_gap import CHANNEL, Hut, Office


async def test_a_pair_travels_and_then_another_adapter_alone(
    office: Office, hut: Hut, tmp_path: Path
) -> None:
    files = [await office.publish_adapter(f"german@{n}", "1", seed=n) for n in (1, 2)]
    for number in (1, 2):
        ref = f"german@{number}"
        body = {"channel": CHANNEL, "to": "tiny@1", "adapters": [ref], "waves": "100%", "soak": "0s"}
        rollout = await office.client.post("/rollouts", body)
        request = {"artifacts": ["tiny@1", ref], "base": ["tiny@1", "german@1"][: 2 * (number - 1)]}
        made = await office.export("1", tmp_path / ref, devices=[hut.device], **request)
        result = await hut.take_in(tmp_path / ref)
        # Not told before it is so: the report before was about the same model, committed.
        assert (result["outcome"], result["slots"][CHANNEL]["active"]) == ("committed", f"tiny@1+{ref}")
        assert result["chunk_bytes"] == made["chunk_bytes"]
        await office.client.post(f"/rollouts/{rollout['id']}/abort")
    assert made["chunk_bytes"] <= files[1].stat().st_size
