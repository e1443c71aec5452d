"""The other servers: llama.cpp's own, llama-cpp-python's, and the batching one among its examples.

All of them run the llama.cpp of the version that ``constraints.txt`` pins: llama-server built natively, the
two others over the very library that the agent runs.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bench.runtime.peers import SLOT_TOKENS, SLOTS, ModelCase, Peer
from support.processes import Service, free_ports

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = (
    "uvicorn", "fastapi", "sse-starlette", "starlette-context<0.4,>=0.3.6", "pydantic-settings", "PyYAML",
    "typing-extensions", "numpy", "diskcache", "jinja2", "openai", "safetensors", "websockets",
)  # fmt: skip
INSTALL_DEADLINE_S = 600.0


class PeerMissingError(RuntimeError):
    """A peer cannot be run on this machine; the message says why."""


def script(name: str) -> ModuleType:
    """One of the project's scripts, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise PeerMissingError(f"there is no scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def llama_server(case: ModelCase, folder: Path) -> Peer:
    """llama.cpp's own server, with its default threads and its default prompt cache.

    Raises:
        PeerMissingError: It was not built.
    """
    builder = script("build_llama_server")
    program = builder.program(builder.pinned_version())
    if not program.exists():
        raise PeerMissingError("llama-server was not built: python scripts/build_llama_server.py")
    flags = ["-np", str(SLOTS), "-c", str(SLOTS * SLOT_TOKENS)]
    port = free_ports(1)[0]
    fixed = ["-m", str(case.path), "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    service = Service("llama-server", [program, *fixed, *flags], folder / f"llama-server-{case.name}.log", {})
    return Peer(
        "llama-server", service, port, case, "/health", "default", {"ignore_eos": True},
        [*flags, "threads, --cache-reuse, --cache-ram, --kv-unified at their defaults"],
    )  # fmt: skip


def llama_cpp_server(case: ModelCase, folder: Path) -> Peer:
    """llama-cpp-python's server, which answers one request after another.

    Raises:
        PeerMissingError: What it needs cannot be installed.
    """
    # By default it gives half of the cores to a model, and breaks one request off for the next.
    flags = ["--n_ctx", str(SLOT_TOKENS), "--n_threads", "-1", "--n_threads_batch", "-1"]
    flags += ["--interrupt_requests", "false"]
    port = free_ports(1)[0]
    command: list[str | Path] = [python_of_peers(), "-m", "llama_cpp.server", "--model", case.path]
    address = ["--host", "127.0.0.1", "--port", str(port), "--model_alias", "bench"]
    log = folder / f"llama-cpp-server-{case.name}.log"
    service = Service("llama_cpp.server", [*command, *address, *flags], log, {})
    return Peer("llama_cpp.server", service, port, case, "/v1/models", "bench", case.ban_ends(), flags)


def example_server(case: ModelCase, folder: Path) -> Peer:
    """The batching server among llama-cpp-python's examples.

    Raises:
        PeerMissingError: What it needs cannot be installed, or the sources are not there.
    """
    builder = script("build_llama_server")
    program = builder.source(builder.pinned_version()) / "examples" / "server" / "server.py"
    if not program.exists():
        raise PeerMissingError("no sources of llama-cpp-python: python scripts/build_llama_server.py")
    port = free_ports(1)[0]
    model = {"path": str(case.path), "alias": "bench", "n_ctx": SLOTS * SLOT_TOKENS, "n_seq_max": SLOTS}
    config = folder / f"example-server-{case.name}.json"
    config.write_text(json.dumps({"server": {"host": "127.0.0.1", "port": port}, "model": model}))
    command: list[str | Path] = [python_of_peers(), program, "-C", config]
    service = Service("examples/server", command, config.with_suffix(".log"), {})
    flags = [f"n_ctx={model['n_ctx']}", f"n_seq_max={SLOTS}", "kv_unified and threads at their defaults"]
    return Peer("examples/server", service, port, case, "/v1/models", "bench", case.ban_ends(), flags)


RIVALS: dict[str, Callable[[ModelCase, Path], Peer]] = {
    "llama-server": llama_server,
    "llama_cpp.server": llama_cpp_server,
    "examples/server": example_server,
}


def python_of_peers() -> Path:
    """A Python of its own for the two servers in Python, with what they need beside llama_cpp itself.

    llama_cpp comes from this environment: the same library, and no second build of it.

    Raises:
        PeerMissingError: The packages cannot be installed.
    """
    builder = script("build_llama_server")
    version = builder.pinned_version()
    folder: Path = builder.home(version).with_name(f"peer-servers-{version}")
    python, mark = folder / "bin" / "python", folder / "complete"
    library = importlib.util.find_spec("llama_cpp")
    if library is None or library.origin is None:
        raise PeerMissingError("llama_cpp is not installed")
    if not mark.exists():
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, *REQUIREMENTS]):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_DEADLINE_S
            )
            if done.returncode:
                raise PeerMissingError(f"cannot install what the peers need: {done.stderr[-500:]}")
        mark.touch()
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "llama_cpp_of_the_project.pth").write_text(f"{Path(library.origin).parents[1]}\n")
    return python
