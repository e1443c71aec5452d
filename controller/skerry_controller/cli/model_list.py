from pathlib import Path
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
from skerry_controller.cli.model_frame import AsJson, Controller, Data

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
    controller: Controller = None,
    as_json: AsJson = False,
) -> None:
    """List the models of the library, with their class, family and quantization."""
    chosen = {
        "params": params,
        "class": size_class,
        "family": family,
        "license": license_id,
        "quantization": quantization,
        "context": context,
        "selector": selector,
    }
    _show(_of_controller(controller, chosen) if controller else _of_folder(data, chosen), as_json=as_json)


def _of_controller(url: str, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    found: list[dict[str, Any]] = work(None, lambda client: client.get("/library/models", **chosen), url=url)
    return found


def _of_folder(data: Path | None, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_bytes, print_note  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing import unfinished  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.filters import EntryFilter  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.labels import model_selector  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import entry_view  # noqa: PLC0415 - the same

    wanted = EntryFilter.parse(
        params=chosen["params"],
        size_class=chosen["class"],
        family=chosen["family"],
        license_id=chosen["license"],
        quantization=chosen["quantization"],
        context=chosen["context"],
    )
    selects = model_selector(chosen["selector"] or "")
    with opened_library(data, read_only=True) as library:
        entries = library.entries()
        unreadable = library.unreadable
        left = unfinished(library)
    for path, reason in unreadable.items():
        print_note(f"skerry: {path} cannot be read ({reason}): repair it, or remove it and import again")
    for each in left.values():
        print_note(
            f"unfinished: {each.address}, {format_bytes(each.present_bytes)} came; the same import goes on, "
            "'skerry model remove --unfinished' drops it"
        )
    return [entry_view(e) for e in entries if wanted.matches(e) and selects(e)]


def _show(entries: list[dict[str, Any]], *, as_json: bool) -> None:
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - heavy, and only here

    if as_json:
        print_json(entries)
    else:
        print_models(entries, empty=_EMPTY)


_EMPTY = "the library has no such model: 'skerry model import' fills it, 'skerry model find' looks around"


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
