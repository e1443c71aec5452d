from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry_controller.cli.model_frame import AsJson, Controller, Data, Model

if TYPE_CHECKING:
    from skerry_controller.workshop.quantizing import Plan

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def quantize(
    model: Model,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Such as Q4_0, Q4_K_M, Q5_1, Q8_0 or TQ2_0.")],
    *,
    as_ref: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME@VERSION",
            help="Of the result; else the parent's name with the type behind it.",
        ),
    ] = None,
    imatrix: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Importance matrix that llama-imatrix wrote.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="How many work; 0 for all cores.")] = 0,
    keep_output: Annotated[
        bool, typer.Option("--keep-output", help="Leave the output layer as it is.")
    ] = False,
    pure: Annotated[bool, typer.Option("--pure", help="Give all matrices the one type: no mixture.")] = False,
    embedding_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Tensor type of the token embeddings, such as Q8_0.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Quantize even to what is no lower than what is there.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be made.")] = False,
    data: Data = None,
    controller: Controller = None,
    as_json: AsJson = False,
) -> None:
    """Make a smaller model of one in the library: fewer bits for each weight.

    Tells the size and the types that will really be inside before it begins. The result names its parent;
    Ctrl-C leaves nothing of it.
    """
    from skerry_controller.cli.model_frame import long_work, opened_library  # noqa: PLC0415 - heavy, only here
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same
    from skerry_controller.workshop.library.views import entry_view  # noqa: PLC0415 - the same
    from skerry_controller.workshop.quantizing import (  # noqa: PLC0415 - the same
        QuantizeSettings,
        plan_quantization,
    )
    from skerry_controller.workshop.quantizing import quantize as make  # noqa: PLC0415 - the same
    from skerry_protocol.names import ArtifactRef  # noqa: PLC0415 - the same

    if controller is not None:
        body = {
            "model": model,
            "type": kind,
            "ref": as_ref,
            "threads": threads,
            "keep_output": keep_output,
            "pure": pure,
            "embedding_type": embedding_type,
            "force": force,
        }
        _at_controller(controller, body, here_only=imatrix is not None or dry_run, as_json=as_json)
        return
    settings = QuantizeSettings(
        ref=None if as_ref is None else ArtifactRef.parse(as_ref),
        imatrix=imatrix,
        threads=threads,
        keep_output=keep_output,
        pure=pure,
        embedding_type=embedding_type,
        force=force,
    )
    with opened_library(data, read_only=dry_run) as library, long_work() as work:
        entry = library.find(model)
        if dry_run:
            plan = plan_quantization(library, entry, kind, settings=settings, stop=work.stop)
            print_json(_plan_view(plan)) if as_json else _tell(plan)
            return
        made = make(
            library,
            entry,
            kind,
            settings=settings,
            progress=work.progress,
            stop=work.stop,
            on_plan=_tell,
        )
    _print(entry_view(made), as_json=as_json)


def _at_controller(url: str, body: dict[str, Any], *, here_only: bool, as_json: bool) -> None:
    from skerry_controller.cli.model_frame import long_work  # noqa: PLC0415 - heavy, only here
    from skerry_controller.cli.model_remote import do_job  # noqa: PLC0415 - the same
    from skerry_controller.errors import UsageError  # noqa: PLC0415 - the same

    if here_only:
        raise UsageError("--imatrix and --dry-run are for a library's folder: leave --controller out")
    with long_work() as work:
        made = do_job(url, {"kind": "quantize", **body}, work)
    _print(made, as_json=as_json)


def _print(made: dict[str, Any], *, as_json: bool) -> None:
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - heavy, only here

    if as_json:
        print_json(made)
    else:
        inside = _inside(made["tensor_types"])
        typer.echo(f"{made['ref']} is in the library: {_size(made['length'])}, {inside}")


def _tell(plan: "Plan") -> None:
    """On stderr, so that ``--json`` stays one document."""
    from skerry_controller.cli.output import print_note  # noqa: PLC0415 - heavy, and only here

    share = 100 * plan.new_length / plan.old_length
    inside = _inside(plan.tensor_types)
    print_note(f"{plan.kind.name} will take {_size(plan.new_length)} ({share:.0f} %): {inside}")
    for warning in plan.warnings:
        print_note(f"warning: {warning}")


def _plan_view(plan: "Plan") -> dict[str, Any]:
    return {
        "type": plan.kind.name,
        "old_length": plan.old_length,
        "new_length": plan.new_length,
        "tensor_types": plan.tensor_types,
        "warnings": list(plan.warnings),
    }


def _size(count: int) -> str:
    from skerry_controller.cli.output import format_bytes  # noqa: PLC0415 - heavy, and only here

    return str(format_bytes(count))


def _inside(tensor_types: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in tensor_types.items())
