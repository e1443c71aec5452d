"""Build llama.cpp's own ``llama-server``, a peer in ``make bench-runtime``.

It is made of the very llama.cpp that the agent runs: the one inside llama-cpp-python's source distribution,
in the version that ``constraints.txt`` names. It is built for this machine's own processor, and kept in
``$XDG_CACHE_HOME/skerry/llama-server-VERSION``, outside the checkout; about 6 minutes on 2 cores, once. The
path of the program is printed last.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

PACKAGE = "llama-cpp-python"
CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
CMAKE_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    # No web page, no downloads: an HTTP server on loopback is all that is measured.
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DGGML_CCACHE=OFF",
)
PROGRESS = re.compile(r"^\[\s*(\d+)%\]")
PROGRESS_EVERY_S = 15.0


def pinned_version() -> str:
    """The version of llama-cpp-python that the project is tested with."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if name.strip() == PACKAGE:
            return version.strip()
    sys.exit(f"llama-server: {CONSTRAINTS} does not name {PACKAGE}")


def home(version: str) -> Path:
    """The folder of one version: its source and what was built of it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "skerry" / f"llama-server-{version}"


def program(version: str) -> Path:
    """Where the program lies once it is built."""
    return home(version) / "bin" / "llama-server"


def source(version: str) -> Path:
    """The unpacked source distribution."""
    return home(version) / "source"


def say(text: str) -> None:
    """A progress line."""
    print(f"llama-server: {text}", file=sys.stderr, flush=True)


def unpack(version: str) -> None:
    """Download and unpack the source distribution, unless it is there already."""
    folder = source(version)
    if folder.exists():
        return
    home(version).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home(version)) as scratch:
        say(f"downloading the source of {PACKAGE} {version}")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
        wanted = ["--no-deps", "--no-binary", PACKAGE, "-d", scratch, f"{PACKAGE}=={version}"]
        if subprocess.run([*pip, *wanted], check=False).returncode:
            sys.exit(f"llama-server: cannot download {PACKAGE} {version}; is the package index reachable?")
        (archive,) = Path(scratch).glob("*.tar.gz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        say(f"unpacking {archive.name}, SHA-256 {digest}")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (unpacked,) = (path for path in Path(scratch).iterdir() if path.is_dir())
        (unpacked / "SHA256").write_text(digest + "\n", encoding="utf-8")
        unpacked.replace(folder)


def build(version: str, jobs: int) -> None:
    """Build the program; its last step puts it in place."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        sys.exit("llama-server: needs cmake and a C++ compiler (Debian: apt install cmake g++)")
    tree = home(version) / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    say(f"configuring in {tree}")
    llama_cpp = source(version) / "vendor" / "llama.cpp"
    _run(["cmake", "-S", str(llama_cpp), "-B", str(tree), *generator, *CMAKE_FLAGS], tree)
    say(f"building with {jobs} jobs")
    _run(["cmake", "--build", str(tree), "--target", "llama-server", "-j", str(jobs)], tree)
    target = program(version)
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".new")
    shutil.copy2(tree / "bin" / "llama-server", temporary)
    temporary.replace(target)
    shown = subprocess.run([str(target), "--version"], capture_output=True, text=True, check=False)
    facts = {"version": version, "cmake_flags": CMAKE_FLAGS, "says": (shown.stdout + shown.stderr).strip()}
    (home(version) / "build.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _run(command: list[str], tree: Path) -> None:
    """Run one part of the build; its output goes to a log, a line of it to the terminal now and then."""
    tree.mkdir(parents=True, exist_ok=True)
    log = tree / "skerry-build.log"
    began = shown = time.monotonic()
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout or ():
            out.write(line)
            if time.monotonic() - shown > PROGRESS_EVERY_S and (PROGRESS.match(line) or line.startswith("[")):
                shown = time.monotonic()
                say(f"{shown - began:4.0f} s  {line.strip()[:90]}")
        if process.wait():
            sys.exit(f"llama-server: {' '.join(command[:2])} failed; see {log}")


def main() -> None:
    """Build the program when it is not there yet, and print its path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at the same time")
    options = parser.parse_args()
    version = pinned_version()
    unpack(version)
    if not program(version).exists():
        build(version, options.jobs)
    print(program(version))


if __name__ == "__main__":
    main()
