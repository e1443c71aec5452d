from typing import Annotated

import typer

from skerry_controller.cli.model_frame import Controller, Data

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
    controller: Controller = None,
) -> None:
    """Remove a model from the library, with its figures. What was published stays published."""
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_bytes, print_line  # noqa: PLC0415 - the same
    from skerry_controller.errors import UsageError  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import discard_unfinished  # noqa: PLC0415 - the same

    if (model is None) is not unfinished:
        raise UsageError("say which model to remove, or --unfinished for what unfinished imports left")
    if controller is not None:
        if model is None:
            raise UsageError(
                "--unfinished is for a library's folder: what a controller left, it goes on with"
            )
        _at_controller(model, controller)
        return
    with opened_library(data) as library:
        if model is None:
            print_line(f"{format_bytes(discard_unfinished(library))} of unfinished imports are removed")
            return
        entry = library.find(model)
        library.remove(entry.ref)
    print_line(f"{entry.ref} is removed from the library")


def _at_controller(model: str, url: str) -> None:
    from skerry_controller.cli.client import ControllerClient, work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.model_remote import model_path  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_line  # noqa: PLC0415 - the same

    async def remove_it(client: ControllerClient) -> str:
        path = await model_path(client, model)
        await client.delete(path)
        return "@".join(path.split("/")[-2:])

    print_line(f"{work(None, remove_it, url=url)} is removed from the controller's library")
