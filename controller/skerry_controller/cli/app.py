"""The commands by name, loaded when they are asked for, and how errors become one line and an exit code."""

import importlib
import sys
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from skerry_controller.errors import ControllerError
from skerry_protocol.errors import NameSyntaxError, ProtocolError

_ROOMS: dict[str, str] = {
    "init": "skerry_controller.cli.init",
    "serve": "skerry_controller.cli.serve",
    "login": "skerry_controller.cli.login",
    "token": "skerry_controller.cli.token",
    "model": "skerry_controller.cli.model",
    "artifact": "skerry_controller.cli.artifact",
    "channel": "skerry_controller.cli.channel",
    "rollout": "skerry_controller.cli.rollout",
    "device": "skerry_controller.cli.device",
    "config": "skerry_controller.cli.config",
    "telemetry": "skerry_controller.cli.telemetry",
    "audit": "skerry_controller.cli.audit",
}
"""Command -> module whose ``app`` (a Typer) it is. A room with commands adds a line here, in reading order.

A module's top level imports nothing heavy (no httpx, rich, tuf, sqlalchemy): commands do, when they run.
"""

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130


class _Rooms(typer.core.TyperGroup):
    """Imports a command's module when the command is run, or when its help is shown."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in reading order."""
        del ctx
        return list(_ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, or None."""
        del ctx
        if cmd_name not in _ROOMS:
            return None
        command = typer.main.get_command(importlib.import_module(_ROOMS[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="skerry",
    cls=_Rooms,
    help="Run a fleet of edge boxes with small language models: publish signed models, roll them out, watch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; errors that we know are one line on stderr."""
    try:
        app()
    except NameSyntaxError as error:
        _fail(error, USAGE_EXIT)
    except (ControllerError, ProtocolError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED_EXIT) from None
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        raise SystemExit(1) from None


def _fail(error: Exception, code: int) -> None:
    line = " ".join(str(error).split())
    print(f"skerry: {line}", file=sys.stderr)  # noqa: T201 - this is the command line
    raise SystemExit(code) from None


def _print_version(value: bool) -> None:
    if value:
        from skerry_controller.version import VERSION  # noqa: PLC0415 - looks up the distribution

        typer.echo(f"skerry {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
