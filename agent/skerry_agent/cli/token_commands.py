"""``skerry-agent token``: who may change models over TCP."""

from typing import Annotated

import typer

from skerry_agent.cli.device import DEFAULT_STATE, AsJson, State, device_client, show_result

token_app = typer.Typer(
    name="token",
    help="Tokens of the local API: needed to change models over TCP, and to ask when a setting says so.",
    no_args_is_help=True,
)


@token_app.command()
def create(
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once: the device keeps only its hash."""
    result = device_client(state).call("token_create", label=label)
    show_result(result, as_json, lambda made: typer.echo(made["token"]))


@token_app.command("list")
def list_tokens(state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""
    from skerry_agent.cli.show import show_tokens  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("token_list"), as_json, show_tokens)


@token_app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its id, as the list shows it.")],
    state: State = DEFAULT_STATE,
) -> None:
    """End a token at once."""
    typer.echo(f"revoked {device_client(state).call('token_revoke', token_id=token)['id']}")
