"""``skerry model eval``: how well a model predicts and answers."""

from typing import TYPE_CHECKING, Annotated

import typer

from skerry_controller.cli.model_frame import AsJson, Data, Model, long_work, opened_library

if TYPE_CHECKING:
    from skerry_controller.workshop.library import Entry, Library

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="eval")
def evaluate(
    model: Model,
    *,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]", help="Compare with this one; else with what the model was made of."
        ),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Compare with nothing.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="One window of the text and ten questions: a smoke.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well a model predicts a text and answers questions, and how far it is from its parent.

    Perplexity counts by token (compare it within one vocabulary), bits per byte by text. KL divergence and
    the share of equal first choices are against the parent. LOW and HIGH bound the 95 % interval. The
    figures are kept in the library with the machine, versions and date.
    """
    from skerry_controller.cli.model_figures_text import (  # noqa: PLC0415 - heavy, and only here
        figure_rows,
        print_notes,
    )
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import figures_view  # noqa: PLC0415 - the same
    from skerry_controller.workshop.measuring import evaluate_model  # noqa: PLC0415 - the same

    with opened_library(data, read_only=True) as library, long_work() as work:
        entry = library.find(model)
        parent = None if alone else _parent(library, entry, against)
        found = evaluate_model(
            library, entry, against=parent, quick=quick, progress=work.progress, stop=work.stop
        )
    if as_json:
        print_json({"ref": str(entry.ref), "figures": [figures_view(figures) for figures in found]})
        return
    print_table(("FIGURE", "VALUE", "LOW", "HIGH", "N", "AT"), figure_rows(found), empty="nothing measured")
    print_notes(found)


def _parent(library: "Library", entry: "Entry", named: str | None) -> "Entry | None":
    """What to compare with: what was named, else the parent while the library has it."""
    if named is not None:
        return library.find(named)
    if entry.lineage is None:
        return None
    return next((each for each in library.entries() if each.sha256 == entry.lineage.parent_sha256), None)
