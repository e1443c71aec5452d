from pathlib import Path
from typing import Annotated

import typer

from skerry_controller.cli.model_frame import AsJson, Data, Model
from skerry_controller.cli.options import Keys

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def publish(
    model: Model,
    *,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SELECTOR:NAME@VERSION",
            help="Another model of the library for the devices that the selector matches, such as "
            "arch=aarch64:small@1; may be repeated, the first match wins.",
        ),
    ] = None,
    as_ref: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME@VERSION", help="Publish it as this; else by its own name."),
    ] = None,
    acceptance: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checks to use instead of those made from figures.")
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Edit the checks in $EDITOR before they are signed.")
    ] = False,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PERCENT",
            help="How much worse than measured a device may be: speed=40, first-token=200, memory=25, "
            "perplexity=5; may be repeated.",
        ),
    ] = None,
    device_class: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Only figures of this class of machines; else of the slowest."),
    ] = None,
    license_id: Annotated[
        str | None, typer.Option("--license", help="Licence, instead of the one that the library knows.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the checks and the model card: nothing is signed.")
    ] = False,
    controller: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A controller's data folder, on which none runs, instead of one over HTTP."
        ),
    ] = None,
    keys: Keys = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Publish a model with checks made from its figures and a model card, signed with the keyring."""
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.publishing_models import Wish, print_published, publish_model  # noqa: PLC0415 - the same
    from skerry_controller.workshop.publishing import parse_margins  # noqa: PLC0415 - the same

    wish = Wish(
        model=model,
        variants=tuple(variant or ()),
        as_ref=as_ref,
        acceptance=acceptance,
        edit=edit,
        margins=parse_margins(margin or ()),
        device_class=device_class,
        license_id=license_id,
        dry_run=dry_run,
    )
    result = publish_model(wish, keys, controller, data)
    if as_json:
        print_json(result)
    else:
        print_published(result)
