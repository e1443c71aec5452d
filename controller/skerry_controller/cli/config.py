from typing import Annotated

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    add_completion=False,
    help="Signed settings for devices: which config bundle goes to whom.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def assign(
    bundle: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A published config bundle.")],
    selector: Annotated[str, typer.Option(help="Who gets it: k=v,k2!=v. Empty text means every device.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a config bundle to devices. Another version of it for the same selector takes its place."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    body = {"bundle": bundle, "selector": selector}
    made = work(data, lambda client: client.post("/config-assignments", body))
    if as_json:
        print_json(made)
        return
    print_line(f"{made['bundle']} goes to {made['selector'] or 'every device'} (assignment {made['id']})")


@app.command("list")
def list_assignments(data: Data = None, as_json: AsJson = False) -> None:
    """List what is assigned, in the order of application: later bundles win."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - the same

    assignments = work(data, lambda client: client.get("/config-assignments"))
    if as_json:
        print_json(assignments)
        return
    rows = [(a["id"], a["bundle"], a["selector"] or "(every device)") for a in assignments]
    print_table(("ID", "BUNDLE", "SELECTOR"), rows, empty="no config bundle is assigned")


@app.command()
def unassign(
    assignment: Annotated[int, typer.Argument(metavar="ID", help="As 'skerry config list' shows it.")],
    data: Data = None,
) -> None:
    """Take an assignment back."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    gone = work(data, lambda client: client.delete(f"/config-assignments/{assignment}"))
    typer.echo(f"{gone['bundle']} no longer goes to {gone['selector'] or 'every device'}")
