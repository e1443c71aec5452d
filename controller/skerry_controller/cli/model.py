"""``skerry model``: the workshop's commands by name, each loaded when it is asked for."""

import importlib
from typing import Any

import typer
import typer.core
import typer.main

_COMMANDS = (
    "find",
    "import",
    "list",
    "show",
    "remove",
    "convert",
    "quantize",
    "bench",
    "eval",
    "compare",
    "advise",
    "publish",
)
"""In reading order. The module of each is ``cli/model_NAME.py``; its ``app`` (a Typer) has that one command.

A module's top level imports nothing heavy: commands do, when they run.
"""


class _Commands(typer.core.TyperGroup):
    """Imports a command's module when the command is run, or when its help is shown."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in reading order."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, or None."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = typer.main.get_command(
            importlib.import_module(f"skerry_controller.cli.model_{cmd_name}").app
        )
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    help="The workshop: find, import, convert, quantize, measure, compare and publish models.\n\n"
    "Its state is a library, a folder that needs no controller: --data DIR, else SKERRY_LIBRARY, else "
    "~/.local/share/skerry/library. A controller's data folder means the library in it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _model() -> None:
    """So that the group has its help; it does nothing by itself."""
