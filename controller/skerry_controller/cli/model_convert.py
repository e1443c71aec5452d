import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skerry_controller.cli.model_frame import AsJson, Data

if TYPE_CHECKING:
    from skerry_controller.workshop.converting import Environment

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def convert(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="With config.json, safetensors and a tokenizer.")
    ],
    *,
    kind: Annotated[
        str,
        typer.Option("--type", metavar="TYPE", help="f16, bf16, f32, q8_0, or auto for the weights' own."),
    ] = "f16",
    as_ref: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME@VERSION",
            help="Of the result; else the folder's name with the type behind it.",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The model's name in its header; else the checkpoint's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Install the converter without a question.")] = False,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Package index beside pip's own; may be repeated. Else $SKERRY_CONVERTER_INDEX.",
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a GGUF model of a Hugging Face checkpoint.

    llama.cpp's own converter does it, in an environment of its own that is installed at first use. Nothing of
    the checkpoint is run, and pickled weights are refused.
    """
    from skerry_controller.cli.model_frame import long_work, opened_library  # noqa: PLC0415 - heavy, only here
    from skerry_controller.cli.output import format_bytes, print_json  # noqa: PLC0415 - the same
    from skerry_controller.workshop.converting import (  # noqa: PLC0415 - the same
        ConvertSettings,
        Environment,
        EnvironmentSettings,
        check_type,
        read_checkpoint,
    )
    from skerry_controller.workshop.converting import convert as make  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import entry_view  # noqa: PLC0415 - the same
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - the same

    ref = None if as_ref is None else ArtifactRef.parse(as_ref)
    check_type(kind)
    read_checkpoint(folder.absolute())  # before anything large is asked for
    environment = Environment(EnvironmentSettings.usual(index or ()))
    _ask(environment, yes=yes)
    settings = ConvertSettings(ref=ref, type=kind, title=title)
    with opened_library(data) as library, long_work() as work:
        made = make(library, folder, environment, settings=settings, progress=work.progress, stop=work.stop)
    if as_json:
        print_json(entry_view(made))
    else:
        inside = ", ".join(f"{count} {name}" for name, count in made.tensor_types.items())
        typer.echo(f"{made.ref} is in the library: {format_bytes(made.length)}, {inside}")


def _ask(environment: "Environment", *, yes: bool) -> None:
    """Say what the converter takes before it is installed.

    Raises:
        UsageError: It is not wanted, or nobody is there to ask.
    """
    from skerry_controller.errors import UsageError  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.converting import DISK_BYTES, DOWNLOAD_BYTES  # noqa: PLC0415 - the same

    if environment.is_ready():
        return
    needed = (
        "llama.cpp's converter is not installed yet: with PyTorch (for the CPU) and transformers it is about "
        f"{DOWNLOAD_BYTES / 1e6:.0f} MB to download and {DISK_BYTES / 1e9:.2f} GB in {environment.folder}"
    )
    if yes:
        typer.echo(needed, err=True)
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{needed}; say --yes to install it")
    if not typer.confirm(f"{needed}. Install it?", err=True):
        raise UsageError("nothing was installed, and nothing converted")
