from typing import Annotated, Any

import typer

from skerry_controller.cli.options import AsJson, Data, Keys

app = typer.Typer(
    add_completion=False,
    help="One-time tokens with which devices enroll.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def create(
    label: Annotated[
        list[str] | None, typer.Option(help="k=v: every device that enrolls with it gets this label.")
    ] = None,
    uses: Annotated[int, typer.Option(min=1, help="How many devices may enroll with it.")] = 1,
    expires: Annotated[
        str | None, typer.Option(help="For how long it can be used, such as 30m, 24h or 7d.")
    ] = None,
    keys: Keys = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.durations import parse_duration  # noqa: PLC0415 - the same
    from skerry_controller.cli.output import format_time, print_json, print_line, print_note  # noqa: PLC0415 - the same
    from skerry_controller.cli.root_pin import root_sha256  # noqa: PLC0415 - the same
    from skerry_protocol.enrollment import EnrollmentToken  # noqa: PLC0415 - the same
    from skerry_protocol.selectors import parse_label  # noqa: PLC0415 - the same

    body: dict[str, Any] = {"labels": dict(map(parse_label, label or ())), "uses": uses}
    if expires is not None:
        body["life_s"] = parse_duration(expires)

    async def make(client: Any) -> tuple[dict[str, Any], str]:
        pinned = await root_sha256(client, keys)
        return await client.post("/enrollment-tokens", body), pinned

    made, pinned = work(data, make)
    token = EnrollmentToken(
        secret=made.pop("secret"), authority_sha256=made["authority_sha256"], root_sha256=pinned
    ).format()
    if as_json:
        print_json({**made, "root_sha256": pinned, "token": token})
        return
    print_line(token)
    print_note(
        f"token {made['id']}: {uses} use(s), until {format_time(made['expires_at'])}. It is shown this once."
    )


@app.command("list")
def list_tokens(data: Data = None, as_json: AsJson = False) -> None:
    """List all tokens, without their secrets."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.output import format_age, format_labels, print_json, print_table  # noqa: PLC0415 - the same

    tokens = work(data, lambda client: client.get("/enrollment-tokens"))
    if as_json:
        print_json(tokens)
        return
    rows = [
        (t["id"], t["state"], t["uses_left"], format_age(t["expires_at"]), format_labels(t["labels"]))
        for t in tokens
    ]
    print_table(("TOKEN", "STATE", "USES LEFT", "EXPIRES", "LABELS"), rows, empty="there are no tokens")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, such as t-1a2b3c4d5e.")],
    data: Data = None,
) -> None:
    """End a token. Devices that enrolled with it stay."""
    from skerry_controller.cli.client import work  # noqa: PLC0415 - heavy, and only here

    revoked = work(data, lambda client: client.delete(f"/enrollment-tokens/{token_id}"))
    typer.echo(f"token {revoked['id']} is {revoked['state']}")
