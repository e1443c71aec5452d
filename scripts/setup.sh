#!/usr/bin/env bash
# Makes .venv and installs the project into it, with the very versions that were tested (constraints.txt).
# Says in one line what is missing on this machine and how to get it. Running it again costs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.skerry-installed
fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
  [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "Python 3.11 or later is needed: sudo apt-get install python3 (or set PYTHON=…)"
"$python" -c 'import venv, ensurepip' 2>/dev/null \
  || fail "Python's venv module is missing: sudo apt-get install python3-venv"

if [ -f "$stamp" ] && [ ! pyproject.toml -nt "$stamp" ] && [ ! constraints.txt -nt "$stamp" ]; then exit 0; fi

# llama-cpp-python comes as source. cmake and ninja come from PyPI by themselves where the system has none.
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null \
  || fail "a C++ compiler is needed to build llama.cpp: sudo apt-get install g++"

say() { printf 'setup: %s\n' "$1"; }
[ -x "$venv/bin/python" ] || { say "creating $venv with $("$python" --version)"; "$python" -m venv "$venv"; }
pip=("$venv/bin/python" -m pip --disable-pip-version-check -q)
# A new pip is wanted, not needed: without a network the one that came with Python goes on.
"${pip[@]}" install --upgrade 'pip>=24' 2>/dev/null || true
if ! "$venv/bin/python" -c 'import llama_cpp' 2>/dev/null; then
  say "building llama.cpp (about 5 minutes on 2 cores, once: pip keeps the wheel)"
  if [ -t 2 ]; then progress=(); else progress=(--progress-bar off); fi
  # pip is silent while it compiles; a line now and then says that it still does.
  ( while sleep 20; do say "still building llama.cpp ($((SECONDS)) s)"; done ) & ticker=$!
  trap 'kill $ticker 2>/dev/null || true' EXIT
  "${pip[@]}" install "${progress[@]}" -c constraints.txt 'llama-cpp-python' || fail "building llama.cpp failed; see above"
  kill $ticker 2>/dev/null || true; trap - EXIT
fi
say "installing skerry and what it needs"
"${pip[@]}" install -c constraints.txt -e '.[dev]'
touch "$stamp"
