import subprocess
import sys

SCRIPT = """
import resource
from skerry_controller.serve.connections import allow_many_files
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
print(allow_many_files(128), resource.getrlimit(resource.RLIMIT_NOFILE)[0], allow_many_files(100))
"""


def test_the_limit_of_open_files_is_raised_and_never_lowered() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["128", "128", "128"]
