from pathlib import Path
from typing import Annotated

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    help="What devices measured.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def _telemetry() -> None:
    pass


@app.command()
def query(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id, such as d-abcdefgh23456722.")],
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="A wrong name lists those that there are.")],
    since: Annotated[str, typer.Option(help="How far back: 30m, 24h, 7d.")] = "1h",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 10_000,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a metric's values, oldest first."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.fleet_text import ms_text, since_text  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - the same

    path = f"/devices/{device}/telemetry/{metric}"
    points = work(data, lambda client: client.get(path, since=since_text(since), limit=limit))
    if as_json:
        print_json(points)
        return
    rows = [(ms_text(p["at_ms"]), None if p["value"] is None else f"{p['value']:.6g}") for p in points]
    print_table(("AT", metric.upper()), rows, empty=f"no values in the last {since}")


@app.command("import")
def import_back(
    path: Annotated[Path, typer.Argument(help="The bundle's folder, as it came back from the devices.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take in what devices without a network wrote onto a stick: reports and records, each once."""
    from skerry_controller.cli.output import print_json, print_line, print_note  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.taking_back import take_back  # noqa: PLC0415 - the same

    devices = take_back(path, data)
    if as_json:
        print_json(devices)
    else:
        for device, taken in devices.items():
            report = {"news": "its report is news", "known": "its report was known"}.get(
                taken["report"] or ""
            )
            counts = f"{taken['stored']} new records, {taken['duplicates']} that were here"
            print_line(f"{device}: {report or 'no report'}; {counts}")
            for problem in taken["problems"]:
                print_note(f"{device}: {problem}")
    if any(taken["problems"] for taken in devices.values()):
        raise typer.Exit(1)
