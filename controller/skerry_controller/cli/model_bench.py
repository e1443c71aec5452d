from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry_controller.cli.model_frame import AsJson, Data, Model, long_work, opened_library

if TYPE_CHECKING:
    from skerry_controller.workshop.library import Entry, Figures

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def bench(
    model: Model,
    *,
    threads: Annotated[
        str | None, typer.Option(metavar="N,N…", help="Thread counts; else 1, 2, 4, … up to the cores.")
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N,N…", help="Tokens of a prompt in one step.")] = "128,512",
    depth: Annotated[
        str, typer.Option(metavar="N,N…", help="Tokens that stand in the context before.")
    ] = "0,512,2048",
    context: Annotated[
        str, typer.Option(metavar="N,N…", help="Contexts of which the memory is measured.")
    ] = "512,2048",
    prompt: Annotated[int, typer.Option(help="Tokens of the prompts.")] = 512,
    answer: Annotated[int, typer.Option(help="Tokens of the answers.")] = 64,
    repetitions: Annotated[int, typer.Option(help="How often each point is measured.")] = 5,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on this machine: loading, memory, speed, and energy where the machine tells it.

    The figures are kept in the library with the machine, versions and date.
    """
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop import measuring  # noqa: PLC0415 - the same

    usual = measuring.usual_plan(measuring.usable_cores())
    plan = measuring.BenchPlan(
        threads=measuring.parse_numbers(threads, "threads") if threads is not None else usual.threads,
        batches=measuring.parse_numbers(batch, "batch"),
        depths=measuring.parse_numbers(depth, "depth"),
        contexts=measuring.parse_numbers(context, "context"),
        repetitions=repetitions,
        prompt_tokens=prompt,
        answer_tokens=answer,
    )
    # Read only: others may use the library meanwhile, and a set of figures is a file of its own.
    with opened_library(data, read_only=True) as library, long_work() as work:
        entry = library.find(model)
        found = measuring.bench_model(library, entry, plan, progress=work.progress, stop=work.stop)
    if as_json:
        print_json(_view(entry, found))
    else:
        _print(entry, found)


def _view(entry: "Entry", found: "list[Figures]") -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - heavy, and only here

    from skerry_controller.workshop.library.views import figures_view  # noqa: PLC0415 - the same
    from skerry_controller.workshop.measuring import rules_of_thumb  # noqa: PLC0415 - the same

    rules: dict[str, Any] = msgspec.to_builtins(rules_of_thumb(entry))
    return {
        "ref": str(entry.ref),
        "rules_of_thumb": rules,
        "figures": [figures_view(figures) for figures in found],
    }


def _print(entry: "Entry", found: "list[Figures]") -> None:
    from skerry_controller.cli.model_figures_text import (  # noqa: PLC0415 - heavy, and only here
        figure_rows,
        memory_rows,
        print_notes,
    )
    from skerry_controller.cli.output import print_table  # noqa: PLC0415 - the same

    plain = [figures for figures in found if figures.kind != "memory"]
    print_table(("FIGURE", "MEDIAN", "LOW", "HIGH", "N", "AT"), figure_rows(plain), empty="nothing measured")
    header = ("CONTEXT", "RULE OF THUMB", "PREDICTED", "MEASURED", "OFF BY", "RSS OF THE PROCESS")
    print_table(header, memory_rows(entry, found), empty="")
    print_notes(found)
