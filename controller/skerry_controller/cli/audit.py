from typing import Annotated

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    help="Who did what to the fleet.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def _audit() -> None:
    pass


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    action: Annotated[str | None, typer.Option(help="Only this action, such as device_enrolled.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the controller's audit log."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_time, print_json, print_table  # noqa: PLC0415 - the same

    entries = work(data, lambda client: client.get("/audit", limit=limit, action=action))
    if as_json:
        print_json(entries)
        return
    rows = [
        (format_time(e["at"]), e["actor"], e["action"], e["subject"], _detail(e["detail"])) for e in entries
    ]
    print_table(("AT", "WHO", "ACTION", "SUBJECT", "DETAIL"), rows, empty="nothing happened yet")


def _detail(detail: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in detail.items()) or "-"
