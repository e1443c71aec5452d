"""The commands, and how their errors become one line and an exit code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from skerry_agent import __version__
from skerry_agent.cli.device import (
    DEFAULT_STATE,
    AsJson,
    State,
    device_client,
    log_warnings_only,
    show_result,
)
from skerry_agent.cli.local_commands import bench, chat
from skerry_agent.cli.token_commands import token_app
from skerry_agent.errors import AgentError, UsageError
from skerry_protocol.errors import ProtocolError

app = typer.Typer(
    name="skerry-agent",
    help="Serve a small language model on this device, offline; follow a fleet when enrolled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; errors that we know are one line on stderr and exit code 1."""
    try:
        app()
    except (AgentError, ProtocolError) as error:
        print(f"skerry-agent: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"skerry-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command()
def run(
    config: Annotated[Path | None, typer.Option(help="Settings file; else /etc/skerry/agent.toml.")] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="State folder; else daemon.state_dir.")
    ] = None,
) -> None:
    """Run the daemon in the foreground, as systemd does."""
    import asyncio  # noqa: PLC0415 - other commands do not need it

    from skerry_agent.daemon import run_daemon  # noqa: PLC0415 - heavy, and only this command needs it

    asyncio.run(run_daemon(config, state))


@app.command()
def enroll(
    token: Annotated[
        str, typer.Argument(help="The one-time token; '-' reads it from stdin, '@FILE' from a file.")
    ],
    controller: Annotated[str, typer.Option(help="The controller's device address, https://HOST:8601.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Join a fleet with a one-time token. The device's key is made here and never leaves it."""
    import asyncio  # noqa: PLC0415 - see above

    from skerry_agent.daemon.enrolling import enroll_device  # noqa: PLC0415 - heavy

    log_warnings_only()
    device = asyncio.run(enroll_device(_secret(token), controller, state))
    typer.echo(f"enrolled as {device}; a running agent connects by itself within seconds")


@app.command()
def status(state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """Show the daemon, its fleet, what is active, and updates under way."""
    from skerry_agent.cli.show import show_status  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("status"), as_json, show_status)


@app.command()
def models(state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """List the models on this device."""
    from skerry_agent.cli.show import show_models  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("models"), as_json, show_models)


@app.command()
def events(
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many, newest last.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what happened on this device."""
    from skerry_agent.cli.show import show_events  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("recent_events", limit=limit), as_json, show_events)


@app.command("import")
def import_file(
    path: Annotated[
        Path, typer.Argument(help="A GGUF model or LoRA adapter, or the folder of a bundle on a stick.")
    ],
    name: Annotated[
        str | None, typer.Option(help="For a file: NAME@VERSION; it will stand below local/.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="For an adapter's file: the model that it was made for.")
    ] = None,
    wait: Annotated[
        int | None, typer.Option(min=0, help="For a bundle: seconds to wait for the update's end; else 1800.")
    ] = None,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Take a model file into this device's registry, or a bundle of the fleet.

    A file is unsigned, so it stays below local/. A bundle ('skerry artifact export') is verified like what
    comes over the network, and updates the device without one; records for the controller are written back
    into it.
    """
    if path.is_dir():
        _import_bundle(path, name, wait, state, as_json=as_json)
        return
    if not path.is_file():
        raise UsageError(f"{path} is not a file: give the .gguf file itself, or the folder of a bundle")
    if name is None:
        raise UsageError(f"say what {path.name} is: --name NAME@VERSION (a bundle is a folder)")
    from skerry_agent.cli.show import show_import, transfer_bar  # noqa: PLC0415 - heavy
    from skerry_agent.registry import check_import  # noqa: PLC0415 - see above

    # The registry checks again; but a running agent does not know the file's own name, and a refusal
    # needs no transfer.
    check_import(path, name, adapter=base is not None)
    client = device_client(state)
    with transfer_bar(f"importing {path.name}", hidden=as_json) as progress:
        result = client.import_file(path.resolve(), name, progress, base=base)
    show_result(result, as_json, show_import)


def _import_bundle(folder: Path, name: str | None, wait: int | None, state: Path, *, as_json: bool) -> None:
    from skerry_agent.cli import bundle_import  # noqa: PLC0415 - heavy

    if name is not None:
        raise UsageError(
            f"{folder} is not a file: give the .gguf file itself; or leave out --name, if it is a bundle"
        )
    lines = bundle_import.ProgressLines(hidden=as_json)
    try:
        result = bundle_import.import_bundle(lambda: device_client(state), folder, wait, lines.show)
    finally:
        lines.done()
    show_result(result, as_json, bundle_import.show_bundle_import)
    bundle_import.end_of_import(result)


@app.command()
def activate(
    name: Annotated[str, typer.Argument(help="NAME@VERSION of an imported model.")],
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Serve an imported model as NAME."""
    from skerry_agent.cli.show import show_slot  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("activate", name=name), as_json, show_slot)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="A channel, its line, or the NAME of an imported model.")],
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Go back to the version before. Works offline; the fleet's version waits for a new attempt."""
    from skerry_agent.cli.show import show_slot  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("rollback", name=name), as_json, show_slot)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="NAME@VERSION of a model that is not in use.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Remove a model from this device."""
    typer.echo(f"removed {device_client(state).call('remove', name=name)['ref']}")


@app.command()
def pin(
    name: Annotated[str, typer.Argument(help="A channel, a name or NAME@VERSION.")],
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Keep a model loaded: no other takes its memory, and it is loaded at the start."""
    from skerry_agent.cli.show import show_pinned  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("pin", name=name), as_json, show_pinned)


@app.command()
def unpin(
    name: Annotated[str, typer.Argument(help="What was pinned.")],
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Treat a pinned model like any other again."""
    from skerry_agent.cli.show import show_pinned  # noqa: PLC0415 - heavy

    show_result(device_client(state).call("unpin", name=name), as_json, show_pinned)


app.add_typer(token_app)
app.command()(chat)
app.command()(bench)


def _secret(value: str) -> str:
    """A secret from stdin (``-``), a file (``@FILE``), or as it is."""
    if value == "-":
        return sys.stdin.readline().strip()
    if value.startswith("@"):
        try:
            return Path(value[1:]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"cannot read the token from {value[1:]}: {error.strerror}") from error
    return value
