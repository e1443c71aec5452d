"""Writes docs/reference/cli.md from the two command lines.

python scripts/make_cli_reference.py            write it
python scripts/make_cli_reference.py --check    exit with 1 if it is not up to date
"""

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from skerry_agent.cli.app import app as agent_app
from skerry_controller.cli.app import app as controller_app

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference" / "cli.md"
COMMAND = "python scripts/make_cli_reference.py"
NOT_SHOWN = {"--help", "--install-completion", "--show-completion"}
INTRODUCTION = """\
Every listing command takes `--json`. A command that fails exits non-zero with one line that says what to do.
Secrets come from a prompt, from stdin (`-`), from a file (`@FILE`) or from the environment, never only from
the command line."""


def commands(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """The commands below a group in their order, with their contexts."""
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        inner = typer.Context(child, info_name=name, parent=context)
        if hasattr(child, "list_commands"):
            yield child, inner
            yield from commands(child, inner)
        elif not child.hidden:
            yield child, inner


def section(command: Any, context: Any) -> list[str]:
    """One command: usage, help, arguments and options."""
    heading = "##" if context.parent is None else "###"
    lines = ["", f"{heading} `{context.command_path}`", "", *_paragraphs(command.help)]
    if hasattr(command, "list_commands"):
        return lines
    parameters = [parameter for parameter in command.params if not NOT_SHOWN.intersection(parameter.opts)]
    lines += ["", "```", " ".join([context.command_path, *_usage(parameters)]), "```"]
    if parameters:
        lines += ["", "| argument or option | meaning | default | environment |", "| --- | --- | --- | --- |"]
        lines += [_row(parameter) for parameter in parameters]
    return lines


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in (text or "").split("\n\n")]


def _usage(parameters: list[Any]) -> Iterator[str]:
    for parameter in parameters:
        name = _name(parameter)
        if parameter.param_type_name != "argument":
            name = name.split(", ")[0]
        yield name if parameter.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    value = "" if parameter.is_flag else f" {parameter.metavar or _value_name(parameter)}"
    repeated = "…" if parameter.multiple else ""
    return ", ".join([*parameter.opts, *parameter.secondary_opts]) + value + repeated


def _value_name(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    while typing.get_origin(annotation) in (list, tuple, types.UnionType, typing.Union):
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    return str({int: "N", float: "NUMBER", str: "TEXT"}.get(annotation, annotation.__name__.upper()))


def _row(parameter: Any) -> str:
    meaning = " ".join((parameter.help or "").split())
    if parameter.required:
        meaning = f"{meaning} Required." if meaning else "Required."
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    environment = parameter.envvar or []
    names = [environment] if isinstance(environment, str) else list(environment)
    cells = (f"`{_name(parameter)}`", meaning, shown, ", ".join(f"`{each}`" for each in names))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def reference() -> str:
    """The whole of cli.md."""
    lines = [f"<!-- Made by `{COMMAND}`: change the commands, not this file. -->", "", "# Commands", ""]
    lines += [INTRODUCTION]
    for name, app in (("skerry", controller_app), ("skerry-agent", agent_app)):
        command = typer.main.get_command(app)
        context = typer.Context(command, info_name=name)
        lines += section(command, context)
        for child, inner in commands(command, context):
            lines += section(child, inner)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file, or check it."""
    wanted = reference()
    up_to_date = REFERENCE.exists() and REFERENCE.read_text(encoding="utf-8") == wanted
    if "--check" in sys.argv[1:]:
        if not up_to_date:
            raise SystemExit(f"out of date: {REFERENCE.relative_to(ROOT)}; run: {COMMAND}")
        return
    REFERENCE.write_text(wanted, encoding="utf-8")
    print(f"written: {REFERENCE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
