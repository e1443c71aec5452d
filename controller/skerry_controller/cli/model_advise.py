from pathlib import Path
from typing import Annotated

import typer

from skerry_controller.cli.model_filters import (
    ClassOption,
    FamilyOption,
    LicenseOption,
    ParamsOption,
    QuantizationOption,
)
from skerry_controller.cli.model_frame import AsJson, Data

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def advise(
    *,
    ram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory that the model may have: 2GiB, 900MiB.")
    ] = None,
    disk: Annotated[str | None, typer.Option(metavar="SIZE", help="Room for its file.")] = None,
    min_tok_s: Annotated[
        float | None, typer.Option(min=0, metavar="RATE", help="Least tokens a second for one answer.")
    ] = None,
    task: Annotated[str, typer.Option(help="chat (needs a chat template) or complete.")] = "chat",
    context: Annotated[int, typer.Option(min=1, metavar="TOKENS", help="The longest conversation.")] = 2048,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Choose for this device of the fleet.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option(help="Choose for the devices with these labels, class by class: k=v,k2!=v.")
    ] = None,
    device_class: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Speed and memory on this class of machines count; else on that with most figures.",
        ),
    ] = None,
    params: ParamsOption = None,
    size_class: ClassOption = None,
    family: FamilyOption = None,
    license_id: LicenseOption = None,
    quantization: QuantizationOption = None,
    charts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also draw speed against quality there.")
    ] = None,
    controller: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Of --device and --selector: a controller's data folder, instead of HTTP.",
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Rank what is in the library for a device or a group, and say why the rest does not fit."""
    from skerry_controller.cli.advice_text import print_advice  # noqa: PLC0415 - heavy, only here
    from skerry_controller.cli.advising import Question, advise_all  # noqa: PLC0415 - heavy, only here
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same
    from skerry_controller.workshop.choosing.wishes import parse_size, parse_task  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.filters import EntryFilter  # noqa: PLC0415 - the same

    question = Question(
        memory_bytes=None if ram is None else parse_size(ram),
        disk_bytes=None if disk is None else parse_size(disk),
        min_tok_s=min_tok_s,
        task=parse_task(task),
        context_tokens=context,
        device=device,
        selector=selector,
        device_class=device_class,
        wanted=EntryFilter.parse(
            params=params,
            size_class=size_class,
            family=family,
            license_id=license_id,
            quantization=quantization,
        ),
    )
    advices = advise_all(question, charts, controller, data)
    if as_json:
        import msgspec  # noqa: PLC0415 - the same

        print_json(msgspec.to_builtins(advices))
    else:
        print_advice(advices)
