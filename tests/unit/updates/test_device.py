import platform

from skerry_agent.updates import LinuxDevice


def test_a_device_tells_its_labels_and_what_the_runtime_knows_of_memory() -> None:
    device = LinuxDevice(
        memory=lambda replaces: 2000 if replaces else 1000,
        cache_tokens=lambda trained: 2 * trained,
        labels=lambda: {"site": "lab"},
    )
    assert (device.model_memory_bytes(None), device.model_memory_bytes("a" * 64)) == (1000, 2000)
    assert device.cache_tokens(512) == 1024
    assert device.facts() == {"site": "lab", "arch": platform.machine()}
