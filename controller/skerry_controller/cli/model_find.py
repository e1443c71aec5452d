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
from skerry_controller.cli.model_frame import AsJson

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def find(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Words in a repository's name: 'smollm2 instruct'.")
    ],
    *,
    params: ParamsOption = None,
    size_class: ClassOption = None,
    family: FamilyOption = None,
    license_id: LicenseOption = None,
    quantization: QuantizationOption = None,
    context: ContextOption = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="As hubs name it, such as text-generation.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(metavar="KEY", help="downloads, likes, trending_score, last_modified or created_at."),
    ] = "downloads",
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many repositories at most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Look for GGUF models on the hub of HF_ENDPOINT (huggingface.co), with HF_TOKEN where it is set.

    Each line begins with what 'skerry model import' takes. Parameters are as the hub counted them, else as
    the repository's name says; the quantization is that of the file's name.
    """
    from skerry_controller.cli.model_frame import long_work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same
    from skerry_controller.workshop.importing.finding import Question, check_sort, find_models  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.filters import EntryFilter  # noqa: PLC0415 - the same

    wanted = EntryFilter.parse(
        params=params,
        size_class=size_class,
        family=family,
        license_id=license_id,
        quantization=quantization,
        context=context,
    )
    question = Question(text=text, wanted=wanted, task=task, sort=check_sort(sort), limit=limit)
    with long_work() as work:
        found = find_models(question, progress=work.progress, stop=work.stop)
    if as_json:
        import msgspec  # noqa: PLC0415 - the same

        print_json([msgspec.to_builtins(each) for each in found])
    else:
        _print(found)


def _print(found: list[Any]) -> None:
    from skerry_controller.cli.output import format_bytes, print_table  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.library.filters import format_count  # noqa: PLC0415 - the same

    rows = [
        (
            each.source,
            each.size_class,
            format_count(each.parameters),
            each.family,
            each.quantization,
            format_bytes(each.length),
            f"{each.license or '-'}{' (gated)' if each.gated else ''}",
            each.downloads,
        )
        for each in found
    ]
    columns = ("SOURCE", "CLASS", "PARAMS", "FAMILY", "TYPE", "SIZE", "LICENCE", "DOWNLOADS")
    print_table(columns, rows, empty="the hub has no GGUF model like that: try fewer words or a wider range")
