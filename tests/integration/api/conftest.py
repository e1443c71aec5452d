"""A device that was never enrolled, with a tiny model: the real daemon, as a child process."""

from collections.abc import Iterator

import pytest

from support.fleet import Device
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    folder = tmp_path_factory.mktemp("device")
    one = Device.in_folder(folder, "box", {"SKERRY_AGENT_RUNTIME__THREADS": "1"})
    one.start()
    try:
        one.run("import", write_tiny_gguf(folder / "tiny.gguf", context=512), "--name", "tiny@1")
        one.run(
            "import", write_tiny_gguf(folder / "base.gguf", chat_template=False, seed=1), "--name", "base@1"
        )
        one.run("activate", "tiny@1")
        yield one
    finally:
        one.service.stop()
