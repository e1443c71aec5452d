"""Asks llama.cpp itself whether it can load a model: in a child process, which may crash."""

import importlib.util
from pathlib import Path

import msgspec

from skerry_controller.errors import PeerError, WorldError
from skerry_controller.workshop.child import run_child
from skerry_controller.workshop.progress import Progress, StopSign

MODULE = "skerry_controller.workshop.importing.trying_child"


class TryJob(msgspec.Struct, frozen=True):
    """The file to load."""

    path: str


class Tried(msgspec.Struct, frozen=True):
    """What came of it: why it failed, or None; and what llama.cpp calls the model."""

    failure: str | None
    description: str = ""


def try_loading(file: Path, progress: Progress, stop: StopSign) -> tuple[str, ...]:
    """Load the model once; returns notes for its record.

    Raises:
        PeerError: llama.cpp cannot load it, or crashes on it; says why.
        StoppedError: Somebody asked.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        return ("it was not tried, since llama.cpp is not installed here",)
    progress(f"loading {file.name} once", 0, 1)
    try:
        tried = run_child(MODULE, TryJob(str(file)), Tried, progress=progress, stop=stop)
    except WorldError as error:
        raise PeerError(f"{file.name} makes llama.cpp crash: {error}") from error
    if tried.failure is not None:
        raise PeerError(f"llama.cpp cannot load {file.name}: {tried.failure}")
    progress(f"loading {file.name} once", 1, 1)
    return ()
