from pathlib import Path

import pytest

from skerry_agent.updates import LinuxDevice
from skerry_agent.updates.labelled import LabelledDevice
from skerry_protocol.reported import Inventory, Reason

GIB = 1024**3


async def nothing_wrong(_architecture: str) -> Reason | None:
    return None


def device(cpuinfo: Path = Path("/proc/cpuinfo")) -> LinuxDevice:
    return LinuxDevice(
        memory=lambda replaces: 2000 if replaces else 1000,
        cache_tokens=lambda trained: 2 * trained,
        inventory=Inventory(arch="aarch64", cpu_model="Raspberry Pi 5", cpu_count=4, memory_bytes=4 * GIB),
        library=nothing_wrong,
        cpuinfo=cpuinfo,
    )


async def test_a_device_tells_what_it_is_and_what_the_runtime_knows(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd asimddp\n")
    one = device(tmp_path / "cpuinfo")
    assert (one.model_memory_bytes(None), one.model_memory_bytes("a" * 64)) == (1000, 2000)
    assert one.cache_tokens(512) == 1024
    assert one.facts() == {
        "arch": "aarch64",
        "processor": "Raspberry-Pi-5",
        "cores": "4",
        "cpu.asimd": "yes",
        "cpu.asimddp": "yes",
        "memory.1GiB": "yes",
        "memory.2GiB": "yes",
        "memory.4GiB": "yes",
    }
    assert await one.library_problem("llama") is None


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n", {"fpu", "avx2"}),
        ("processor\t: 0\nFeatures\t: fp asimddp\n", {"fp", "asimddp"}),
        ("processor : 0\n", set()),
        (None, set()),
    ],
)
def test_the_processors_features_are_what_the_kernel_says(
    tmp_path: Path, text: str | None, features: set[str]
) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    assert device(path).cpu_features() == features


async def test_labels_add_to_what_a_device_is_and_overrule_nothing() -> None:
    labelled = LabelledDevice(device(Path("/nowhere")))
    labelled.labels = {"site": "lab", "arch": "z80"}
    assert labelled.facts()["site"] == "lab"
    assert labelled.facts()["arch"] == "aarch64"
    assert labelled.cache_tokens(512) == 1024
    assert await labelled.library_problem("llama") is None
