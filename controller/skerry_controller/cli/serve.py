from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Port = Annotated[int | None, typer.Option(min=0, max=65535)]


@app.command()
def serve(
    data: Annotated[
        Path | None, typer.Option(help="The data folder that 'skerry init' made; else server.data_dir.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file; else controller.toml in the data folder, else in /etc/skerry."),
    ] = None,
    operator_host: Annotated[str | None, typer.Option(help="Instead of operator.host.")] = None,
    operator_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Instead of operator.port.")
    ] = None,
    device_host: Annotated[str | None, typer.Option(help="Instead of device.host.")] = None,
    device_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Instead of device.port.")] = None,
    broker_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Instead of broker.port.")] = None,
) -> None:
    """Run the controller in the foreground, with its MQTT broker, as systemd does."""
    import asyncio  # noqa: PLC0415 - heavy imports belong to the command that runs

    from skerry_controller.logs import configure_logs  # noqa: PLC0415 - the same
    from skerry_controller.settings import load_settings, settings_file  # noqa: PLC0415 - the same

    flags = _flags(
        server={"data_dir": data.absolute() if data else None},
        operator={"host": operator_host, "port": operator_port},
        device={"host": device_host, "port": device_port},
        broker={"port": broker_port},
    )
    settings = load_settings(settings_file(data, config), flags=flags)
    configure_logs(settings.log.level, settings.log.format)
    asyncio.run(_serve(settings))


def _flags(**sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in sections.items()
    }
    return {section: values for section, values in given.items() if values}


async def _serve(settings: Any) -> None:
    import asyncio  # noqa: PLC0415 - heavy imports belong to the command that runs
    import signal  # noqa: PLC0415 - the same

    from skerry_controller.clock import utc_now  # noqa: PLC0415 - the same
    from skerry_controller.serve import serve as run_controller  # noqa: PLC0415 - the same

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def tell(addresses: Any) -> None:
        typer.echo("The controller is ready. Ctrl-C stops it.")
        typer.echo(f"  operators  {addresses.operators}")
        typer.echo(f"  devices    {addresses.devices}")
        typer.echo(f"  broker     {addresses.broker}")

    await run_controller(settings, clock=utc_now, stop=stop, on_ready=tell)
