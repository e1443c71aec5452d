from typing import Annotated, Any

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    add_completion=False,
    help="Move a channel to another version, in waves.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Rollout = Annotated[str, typer.Argument(metavar="ID", help="Such as r-abcd2345.")]


@app.command()
def create(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="LINE/TRACK, such as assistant/stable.")],
    *,
    to: Annotated[str, typer.Option(metavar="NAME@VERSION", help="A published model.")],
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME@VERSION", help="A published LoRA adapter on it; may be repeated."),
    ] = None,
    waves: Annotated[
        str, typer.Option(help="Devices so far after each wave: counts or percentages; the last is 100%.")
    ] = "1,10%,100%",
    max_failures: Annotated[
        str, typer.Option(help="How many of the assigned devices may fail before it pauses: 2 or 5%.")
    ] = "5%",
    soak: Annotated[str, typer.Option(help="How long each finished wave must stay good.")] = "10m",
    window: Annotated[
        str | None,
        typer.Option(help="When devices may be assigned: cron (UTC) and duration, '0 2 * * * 3h'."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start a rollout."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    body: dict[str, Any] = {
        "channel": channel, "to": to, "waves": waves, "max_failures": max_failures, "soak": soak
    }  # fmt: skip
    if window is not None:
        body["window"] = window
    if adapter:
        body["adapters"] = adapter
    made = work(data, lambda client: client.post("/rollouts", body))
    if as_json:
        print_json(made)
        return
    if made["state"] == "running":
        print_line(f"rollout {made['id']} is running: 'skerry rollout watch {made['id']}'")
    else:
        print_line(f"rollout {made['id']} {made['state']}: {made['reason']}")


@app.command("list")
def list_rollouts(
    channel: Annotated[str | None, typer.Option(help="Only of this channel.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List rollouts, the newest first."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_age, print_json, print_table  # noqa: PLC0415 - the same
    from skerry_controller.cli.watching import counts_text, version_text  # noqa: PLC0415 - the same

    rollouts = work(data, lambda client: client.get("/rollouts", channel=channel))
    if as_json:
        print_json(rollouts)
        return
    rows = [
        (
            r["id"],
            r["channel"],
            version_text(r),
            r["state"],
            counts_text(r),
            format_age(r["created_at"]),
        )
        for r in rollouts
    ]
    columns = ("ROLLOUT", "CHANNEL", "TO", "STATE", "DEVICES", "STARTED")
    print_table(columns, rows, empty="there are no rollouts")


@app.command()
def show(rollout: Rollout, data: Data = None, as_json: AsJson = False) -> None:
    """Show one rollout with all its devices."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    _print(work(data, lambda client: client.get(f"/rollouts/{rollout}")), as_json=as_json)


@app.command()
def watch(
    rollout: Rollout,
    interval: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between two looks.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """Watch until it ends: exit code 0 when it succeeded, 1 when it was aborted, 3 when it is paused."""
    import asyncio  # noqa: PLC0415 - heavy, and only here

    from skerry_controller.cli.watching import watch_rollout  # noqa: PLC0415 - the same

    code = asyncio.run(watch_rollout(rollout, interval_s=interval, as_json=as_json))
    raise typer.Exit(code)


@app.command()
def pause(rollout: Rollout, data: Data = None, as_json: AsJson = False) -> None:
    """Assign no further device; devices that are under way go on."""
    _change(rollout, "pause", data, as_json=as_json)


@app.command()
def resume(rollout: Rollout, data: Data = None, as_json: AsJson = False) -> None:
    """Go on. Devices that failed try again."""
    _change(rollout, "resume", data, as_json=as_json)


@app.command()
def abort(rollout: Rollout, data: Data = None, as_json: AsJson = False) -> None:
    """End it. Its devices go back to the channel's version."""
    _change(rollout, "abort", data, as_json=as_json)


def _change(rollout: str, verb: str, data: Any, *, as_json: bool) -> None:
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_line  # noqa: PLC0415 - the same

    changed = work(data, lambda client: client.post(f"/rollouts/{rollout}/{verb}"))
    if as_json:
        print_json(changed)
        return
    print_line(f"rollout {changed['id']} is {changed['state']}")


def _print(rollout: dict[str, Any], *, as_json: bool) -> None:
    from skerry_controller.cli.output import format_time, print_json, print_line, print_table  # noqa: PLC0415 - heavy
    from skerry_controller.cli.watching import device_rows, headline, version_text  # noqa: PLC0415 - the same

    if as_json:
        print_json(rollout)
        return
    print_line(headline(rollout))
    print_line(
        f"from {version_text(rollout, 'previous', 'previous_adapters')}, waves {','.join(rollout['waves'])}, "
        f"{rollout['max_failures']} may fail, started {format_time(rollout['created_at'])}"
    )
    columns = ("DEVICE", "STANDING", "STATE", "ATTEMPT", "PROGRESS", "REASON")
    print_table(columns, device_rows(rollout), empty="no device follows the channel")
