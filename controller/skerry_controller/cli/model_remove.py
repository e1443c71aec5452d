import typer

from skerry_controller.cli.model_frame import Data, Model

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def remove(model: Model, *, data: Data = None) -> None:
    """Remove a model from the library, with its figures. What was published stays published."""
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_line  # noqa: PLC0415 - the same

    with opened_library(data) as library:
        entry = library.find(model)
        library.remove(entry.ref)
    print_line(f"{entry.ref} is removed from the library")
