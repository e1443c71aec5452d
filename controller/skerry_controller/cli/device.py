from typing import Annotated, Any

import typer

from skerry_controller.cli.options import AsJson, Data

app = typer.Typer(
    add_completion=False,
    help="Devices: what each should run, what it runs, and why not.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="Its id, such as d-abcdefgh23456722.")]


@app.command("list")
def list_devices(
    selector: Annotated[str, typer.Option(help="Only devices with these labels: k=v,k2!=v.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List devices."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.fleet_text import slot_summary  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import format_age, format_labels, print_json, print_table  # noqa: PLC0415 - the same

    devices = work(data, lambda client: client.get("/devices", selector=selector))
    if as_json:
        print_json(devices)
        return
    rows = [
        (
            d["id"],
            d["hostname"],
            d["presence"],
            format_age(d["last_seen_at"]),
            "; ".join(slot_summary(slot) for slot in d["slots"]) or "-",
            format_labels(d["labels"]),
        )
        for d in devices
    ]
    columns = ("DEVICE", "HOST", "PRESENCE", "SEEN", "SLOTS", "LABELS")
    print_table(columns, rows, empty="no device matches" if selector else "no device is enrolled yet")


@app.command()
def show(device: Device, data: Data = None, as_json: AsJson = False) -> None:
    """Show one device: what it should run, what it runs, and why something was refused."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.fleet_text import print_device  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same

    async def read(client: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return await client.get(f"/devices/{device}"), await client.get(f"/devices/{device}/records")

    found, records = work(data, read)
    if as_json:
        print_json({**found, "records": records})
        return
    print_device(found, records)


@app.command()
def logs(
    device: Device,
    since: Annotated[str, typer.Option(help="How far back: 30m, 24h, 7d.")] = "24h",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 200,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened: what the device told, and which of its messages were refused here."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.fleet_text import fields_text, ms_text, since_text  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json, print_table  # noqa: PLC0415 - the same

    entries = work(
        data, lambda client: client.get(f"/devices/{device}/log", since=since_text(since), limit=limit)
    )
    if as_json:
        print_json(entries)
        return
    rows = [(ms_text(e["at_ms"]), e["source"], e["name"], fields_text(e["data"])) for e in entries]
    print_table(("AT", "TOLD BY", "EVENT", "FIELDS"), rows, empty=f"nothing in the last {since}")


@app.command()
def label(
    device: Device,
    labels: Annotated[list[str], typer.Argument(metavar="K=V… K-…", help="k=v sets, k- removes.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Set and remove labels. Channels and config bundles follow at once."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_labels, print_json, print_line  # noqa: PLC0415 - the same
    from skerry_protocol.selectors import parse_label  # noqa: PLC0415 - the same

    remove = [text.removesuffix("-") for text in labels if text.endswith("-") and "=" not in text]
    add = dict(parse_label(text) for text in labels if not (text.endswith("-") and "=" not in text))
    change = {"add": add, "remove": remove}
    after = work(data, lambda client: client.patch(f"/devices/{device}/labels", change))
    if as_json:
        print_json(after)
        return
    print_line(f"{device}: {format_labels(after)}")


@app.command()
def rollback(
    device: Device,
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="A channel, or local/NAME.")],
    wait: Annotated[str, typer.Option(help="How long to wait for the device's reply.")] = "60s",
    as_json: AsJson = False,
) -> None:
    """Put a slot back to its previous version; the device stays there until a rollout or resume asks anew."""
    _command(device, "rollback", {"slot": slot}, wait, as_json=as_json)


@app.command()
def ping(
    device: Device,
    wait: Annotated[str, typer.Option(help="How long to wait for the device's reply.")] = "10s",
    as_json: AsJson = False,
) -> None:
    """Ask a device for a sign of life."""
    _command(device, "ping", {}, wait, as_json=as_json)


def _command(device: str, name: str, arguments: dict[str, str], wait: str, *, as_json: bool) -> None:
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.durations import parse_duration  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import print_json, print_line, print_note  # noqa: PLC0415 - the same

    body = {"name": name, "arguments": arguments, "timeout_s": parse_duration(wait)}
    reply = work(None, lambda client: client.post(f"/devices/{device}/commands", body, long=True))
    if as_json:
        print_json(reply)
    elif reply["ok"]:
        print_line(reply["message"] or f"{device} says: done")
    else:
        print_note(f"skerry: {device} refuses: {reply['message']}")
    if not reply["ok"]:
        raise typer.Exit(1)
