from typing import Annotated

import typer

from skerry_controller.cli.model_frame import Data

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def remove(
    model: Annotated[
        str | None,
        typer.Argument(metavar="NAME[@VERSION]", help="A model of the library; a name alone is its newest."),
    ] = None,
    *,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove what unfinished imports left, instead of a model.")
    ] = False,
    data: Data = None,
) -> None:
    """Remove a model from the library, with its figures. What was published stays published."""
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_bytes, print_line  # noqa: PLC0415 - the same
    from skerry_controller.errors import UsageError  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import discard_unfinished  # noqa: PLC0415 - the same

    if (model is None) is not unfinished:
        raise UsageError("say which model to remove, or --unfinished for what unfinished imports left")
    with opened_library(data) as library:
        if model is None:
            print_line(f"{format_bytes(discard_unfinished(library))} of unfinished imports are removed")
            return
        entry = library.find(model)
        library.remove(entry.ref)
    print_line(f"{entry.ref} is removed from the library")
