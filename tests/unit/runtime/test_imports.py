import subprocess
import sys


def test_the_daemon_imports_neither_llama_cpp_nor_numpy_nor_jinja2() -> None:
    code = (
        "import sys, skerry_agent.runtime\n"
        "heavy = {'llama_cpp', 'numpy', 'jinja2', 'psutil'} & set(sys.modules)\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
