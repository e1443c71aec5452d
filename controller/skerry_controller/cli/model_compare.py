from pathlib import Path
from typing import Annotated

import typer

from skerry_controller.cli.model_frame import AsJson, Data

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="NAME[@VERSION]…", help="Of the library; a name alone is its newest."),
    ],
    *,
    device_class: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Show speed and memory on this class of machines, such as 'x86_64 AMD EPYC 2'; else on that "
            "on which most of them were measured.",
        ),
    ] = None,
    charts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also draw the charts there, as SVG and PNG.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put models side by side: sizes, and what was measured of them."""
    from skerry_controller.cli.comparing import compare_models, print_comparison  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same

    comparison, files = compare_models(models, device_class, charts, data)
    if as_json:
        import msgspec  # noqa: PLC0415 - the same

        print_json({**msgspec.to_builtins(comparison), "files": [str(file) for file in files]})
    else:
        print_comparison(comparison, files)
