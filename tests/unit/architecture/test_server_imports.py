"""The controller's server carries the workshop's commands, but not what only its jobs need."""

import subprocess
import sys


def test_the_server_loads_nothing_of_the_workshop_that_is_heavy() -> None:
    code = (
        "import sys, skerry_controller.serve.serve\n"
        "bad = [m for m in sys.modules if m.partition('.')[0] in"
        " ('huggingface_hub', 'llama_cpp', 'matplotlib', 'numpy', 'requests', 'gguf')]\n"
        "print(bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
