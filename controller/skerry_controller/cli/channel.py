from typing import Annotated, Any

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    add_completion=False,
    help="Named lines of versions that devices follow by their labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="CHANNEL", help="LINE/TRACK, such as assistant/stable.")]


@app.command("set")
def set_channel(
    channel: Name,
    selector: Annotated[
        str | None, typer.Option(help="Who follows it: k=v,k2!=v. Empty text means every device.")
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(metavar="NAME@VERSION", help="The channel's first version; later, rollouts move it."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME@VERSION", help="With --artifact: a LoRA adapter on it; may be repeated."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a channel, or change who follows it."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    body = {"selector": selector, "artifact": artifact, "adapters": adapter or None}
    change = {key: value for key, value in body.items() if value is not None}
    _print(work(data, lambda client: client.put(_path(channel), change)), as_json=as_json)


@app.command("list")
def list_channels(data: Data = None, as_json: AsJson = False) -> None:
    """List all channels."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - the same

    channels = work(data, lambda client: client.get("/channels"))
    if as_json:
        print_json(channels)
        return
    rows = [
        (c["name"], _version(c), c["selector"] or "(every device)", c["devices"], c["rollout"])
        for c in channels
    ]
    columns = ("CHANNEL", "VERSION", "SELECTOR", "DEVICES", "ROLLOUT")
    print_table(columns, rows, empty="there are no channels: 'skerry channel set' makes one")


@app.command()
def show(channel: Name, data: Data = None, as_json: AsJson = False) -> None:
    """Show one channel."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    _print(work(data, lambda client: client.get(_path(channel))), as_json=as_json)


def _print(channel: dict[str, Any], *, as_json: bool) -> None:
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - heavy, and only here

    if as_json:
        print_json(channel)
        return
    rows: list[tuple[str, object]] = [
        ("channel", channel["name"]),
        ("selector", channel["selector"] or "(every device)"),
        ("version", _version(channel) or "(none yet)"),
        ("devices", channel["devices"]),
    ]
    if channel["rollout"]:
        rows.append(("rollout", channel["rollout"]))
    print_table(("", ""), rows, empty="")


def _version(channel: dict[str, Any]) -> str | None:
    """``smol@1 + german@1``; None before the first."""
    current: str | None = channel["current"]
    return None if current is None else " + ".join((current, *channel["adapters"]))


def _path(channel: str) -> str:
    from skerry_protocol.names import Channel  # noqa: PLC0415 - only here

    return f"/channels/{Channel.parse(channel)}"
