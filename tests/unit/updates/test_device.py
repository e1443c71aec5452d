import platform
from pathlib import Path

import pytest

from skerry_agent.updates import LinuxDevice
from skerry_protocol.reported import Reason


async def nothing_wrong(_architecture: str) -> Reason | None:
    return None


def device(cpuinfo: Path = Path("/proc/cpuinfo")) -> LinuxDevice:
    return LinuxDevice(
        memory=lambda replaces: 2000 if replaces else 1000,
        cache_tokens=lambda trained: 2 * trained,
        labels=lambda: {"site": "lab"},
        library=nothing_wrong,
        cpuinfo=cpuinfo,
    )


async def test_a_device_tells_its_labels_and_what_the_runtime_knows() -> None:
    one = device()
    assert (one.model_memory_bytes(None), one.model_memory_bytes("a" * 64)) == (1000, 2000)
    assert one.cache_tokens(512) == 1024
    assert one.facts() == {"site": "lab", "arch": platform.machine()}
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
