"""Hands checkpoints on to the room that converts them."""

from pathlib import Path

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import Entry, Library, Licence, Origin
from skerry_controller.workshop.progress import Progress, StopSign
from skerry_protocol.names import ArtifactRef


def convert_checkpoint(
    library: Library,
    folder: Path,
    ref: ArtifactRef,
    origin: Origin,
    licence: Licence | None,
    progress: Progress,
    stop: StopSign,
) -> Entry:
    """Make a GGUF model of a checkpoint, with the weights' precision, and take it in.

    Raises:
        UsageError: The converter is not installed; says how it is.
        ControllerError: It cannot be converted.
    """
    from skerry_controller.workshop.converting import (  # noqa: PLC0415 - only for checkpoints
        ConvertSettings,
        Environment,
        EnvironmentSettings,
        convert,
        read_checkpoint,
    )

    read_checkpoint(folder.absolute())  # what is wrong with it is said first
    environment = Environment(EnvironmentSettings.usual())
    if not environment.is_ready():
        raise UsageError(
            f"{origin.address} is a checkpoint, and the converter is not installed yet: 'skerry model "
            f"convert {folder} --as {ref}' says what it takes, and installs it"
        )
    return convert(
        library,
        folder,
        environment,
        settings=ConvertSettings(ref=ref),
        origin=origin,
        licence=licence,
        progress=progress,
        stop=stop,
    )
