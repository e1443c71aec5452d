from pathlib import Path
from typing import Annotated, Any

import typer

from skerry_controller.cli.options import AsJson

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def init(
    data: Annotated[Path, typer.Option(help="New folder for the controller's data.")],
    keys: Annotated[
        Path, typer.Option(help="New folder for the keyring: to be taken offline, apart from the data.")
    ],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address under which devices reach this machine; the preferred one first."),
    ] = None,
    operator_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the operators' API.")] = 8600,
    device_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the devices' listener.")] = 8601,
    broker_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MQTT broker.")] = 8883,
    topic_root: Annotated[str, typer.Option(help="What stands before all MQTT topics.")] = "skerry/v1",
    as_json: AsJson = False,
) -> None:
    """Set up a new controller: keyring, authorities, repository, database, first administrator."""
    import asyncio  # noqa: PLC0415 - heavy imports belong to the command that runs
    import socket  # noqa: PLC0415 - the same

    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - the same
    from skerry_controller.cli.secret_input import new_keyring_passphrase  # noqa: PLC0415 - the same
    from skerry_controller.clock import utc_now  # noqa: PLC0415 - the same
    from skerry_controller.logs import configure_logs  # noqa: PLC0415 - the same
    from skerry_controller.setup import Plan, initialise  # noqa: PLC0415 - the same
    from skerry_protocol.topics import check_root  # noqa: PLC0415 - the same

    configure_logs("warning", "auto")
    plan = Plan(
        data=data.absolute(),
        keys=keys.absolute(),
        hosts=tuple(host or [socket.gethostname()]),
        operator_port=operator_port,
        device_port=device_port,
        broker_port=broker_port,
        topic_root=check_root(topic_root),
    )
    plan.check()
    made = asyncio.run(initialise(plan, new_keyring_passphrase(), clock=utc_now))
    shown = {
        "fleet": made.fleet,
        "data": str(plan.data),
        "keys": str(plan.keys),
        "admin_token": made.admin_token,
        "root_sha256": made.root_sha256,
        "authority_sha256": made.authority_sha256,
        "operator_url": f"http://127.0.0.1:{plan.operator_port}",
        "controller_urls": list(made.controller_urls),
        "broker_urls": list(made.broker_urls),
    }
    if as_json:
        print_json(shown)
    else:
        _tell(shown)


def _tell(made: dict[str, Any]) -> None:
    typer.echo(
        f"""\
A new controller for fleet {made["fleet"]}.

  data     {made["data"]}
  keyring  {made["keys"]}   root, targets, models and configs keys, encrypted with your passphrase
  devices  {", ".join(made["controller_urls"])}
  broker   {", ".join(made["broker_urls"])}

The first administrator's token. It is shown this once:

  {made["admin_token"]}

Take offline: copy {made["keys"]} to two media that you lock away. root.key and targets.key are needed only
to change keys and addresses: remove them from this machine once the copies are checked. models.key and
configs.key sign what you publish: keep them where you run 'skerry artifact add'. The controller never needs
any of them. Without the passphrase they are lost.

Next:
  skerry serve --data {made["data"]}
  skerry login --url {made["operator_url"]} --keys {made["keys"]}"""
    )
