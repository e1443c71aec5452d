from typing import Annotated, Any

import typer

from skerry_controller.cli.model_filters import (
    ClassOption,
    ContextOption,
    FamilyOption,
    LicenseOption,
    ParamsOption,
    QuantizationOption,
)
from skerry_controller.cli.model_frame import AsJson, Data

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def list_models(
    *,
    params: ParamsOption = None,
    size_class: ClassOption = None,
    family: FamilyOption = None,
    license_id: LicenseOption = None,
    quantization: QuantizationOption = None,
    context: ContextOption = None,
    selector: Annotated[
        str | None,
        typer.Option(help="The same as one text: class=micro,family=gemma3,quantization!=Q4_0."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the models of the library, with their class, family and quantization."""
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_bytes, print_json, print_note  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import unfinished  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.filters import EntryFilter  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.labels import model_selector  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import entry_view  # noqa: PLC0415 - the same

    wanted = EntryFilter.parse(
        params=params,
        size_class=size_class,
        family=family,
        license_id=license_id,
        quantization=quantization,
        context=context,
    )
    selects = model_selector(selector or "")
    with opened_library(data, read_only=True) as library:
        everything = library.entries()
        unreadable = library.unreadable
        left = unfinished(library)
    entries = [entry_view(e) for e in everything if wanted.matches(e) and selects(e)]
    for path, reason in unreadable.items():
        print_note(f"skerry: {path} cannot be read ({reason}): repair it, or remove it and import again")
    if as_json:
        print_json(entries)
        return
    for each in left.values():
        print_note(
            f"unfinished: {each.address}, {format_bytes(each.present_bytes)} came; the same import goes on, "
            "'skerry model remove --unfinished' drops it"
        )
    print_models(entries, empty="no model of the library is like that" if everything else _EMPTY)


_EMPTY = "the library is empty: 'skerry model import' fills it, 'skerry model find' looks around"


def print_models(entries: list[dict[str, Any]], *, empty: str) -> None:
    """A table of models."""
    from skerry_controller.cli.output import format_bytes, print_table  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.library.filters import format_count  # noqa: PLC0415 - the same

    rows = [
        (
            each["ref"],
            each["size_class"],
            format_count(each["parameters"]),
            each["family"],
            each["quantization"],
            format_bytes(each["length"]),
            each["context_length"],
            each["license"],
            each["origin"]["kind"],
        )
        for each in entries
    ]
    columns = ("MODEL", "CLASS", "PARAMS", "FAMILY", "TYPE", "SIZE", "CONTEXT", "LICENCE", "FROM")
    print_table(columns, rows, empty=empty)
