"""Writes docs/reference/settings.md and the example files in configs/ from the settings classes.

python scripts/make_settings_reference.py            write them
python scripts/make_settings_reference.py --check    exit with 1 if they are not up to date
"""

import json
import sys
import textwrap
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from skerry_agent.settings import AgentSettings
from skerry_controller.settings import ControllerSettings

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference" / "settings.md"
COMMAND = "python scripts/make_settings_reference.py"
COMMENT_WIDTH = 100
BYTE_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
TYPE_NAMES = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", Path: "path"}

# What an example shows where the default is "nothing".
EXAMPLES: dict[str, object] = {"broker.bind_address": "192.0.2.10", "broker.binary": "/usr/sbin/mosquitto"}


INTRODUCTION = """\
Both daemons read TOML files with sections. An unknown section or key is an error that names the nearest
valid one. Annotated examples: [agent.toml](../../configs/agent.toml),
[controller.toml](../../configs/controller.toml).

An environment variable is the prefix, the section, two underscores and the key; a list is written as JSON:
`SKERRY_AGENT_API__ALLOWED_HOSTS='["localhost"]'`."""


@dataclass(frozen=True)
class Program:
    """One of the two daemons, as a reader of its settings meets it."""

    title: str
    settings: type[BaseModel]
    prefix: str
    example: Path
    read_from: str
    order: str


PROGRAMS = (
    Program(
        title="Agent",
        settings=AgentSettings,
        prefix="SKERRY_AGENT_",
        example=ROOT / "configs" / "agent.toml",
        read_from="`--config FILE`, else `/etc/skerry/agent.toml` where it exists",
        order="defaults, the file, the fleet's config bundles, the environment, flags",
    ),
    Program(
        title="Controller",
        settings=ControllerSettings,
        prefix="SKERRY_",
        example=ROOT / "configs" / "controller.toml",
        read_from=(
            "`--config FILE`, else `controller.toml` in the data folder (`skerry init` writes one), "
            "else `/etc/skerry/controller.toml` where it exists"
        ),
        order="defaults, the file, the environment, flags",
    ),
)


@dataclass(frozen=True)
class Setting:
    """One key of one section."""

    section: str
    key: str
    info: FieldInfo

    @property
    def text(self) -> str:
        """What it does, with its unit."""
        if not self.info.description:
            raise SystemExit(f"{self.section}.{self.key} has no description")
        return self.info.description

    @property
    def example(self) -> object:
        """The default, or an example where the default is nothing."""
        return self.info.default if self.info.default is not None else EXAMPLES[f"{self.section}.{self.key}"]


def sections(settings: type[BaseModel]) -> list[tuple[str, str, list[Setting]]]:
    """Name, description and settings of each section."""
    found = []
    for name, field in settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise SystemExit(f"{name} is no section")
        keys = [Setting(name, key, info) for key, info in model.model_fields.items()]
        found.append((name, " ".join((model.__doc__ or "").split()), keys))
    return found


def toml(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))


def type_text(info: FieldInfo) -> str:
    """The type and its bounds, in words."""
    bounds = [
        f"{sign} {bound}"
        for each in info.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if (bound := getattr(each, name, None)) is not None
    ]
    return ", ".join([_plain_type(info.annotation), *bounds])


def _plain_type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{each}`" for each in arguments)
    if origin in (tuple, list):
        return f"list of {_plain_type(arguments[0])}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_plain_type(each) for each in arguments if each is not type(None))
    return TYPE_NAMES[annotation]


def default_text(setting: Setting) -> str:
    """The default as TOML, sizes also with their unit."""
    value = setting.info.default
    if value is None:
        return "none"
    text = f"`{toml(value)}`"
    if setting.key.endswith("_bytes") and value:
        unit, size = next((name, size) for name, size in BYTE_UNITS if value >= size)
        text += f" ({value / size:g} {unit})"
    return text


def reference() -> str:
    """The whole of settings.md."""
    lines = [
        f"<!-- Made by `{COMMAND}`: change the settings classes, not this file. -->",
        "",
        "# Settings",
        "",
    ]
    lines += [INTRODUCTION]
    for program in PROGRAMS:
        lines += ["", f"## {program.title}", ""]
        lines += [f"File: {program.read_from}. Later ones win: {program.order}."]
        lines += [f"Environment: `{program.prefix}SECTION__KEY`."]
        for name, description, settings in sections(program.settings):
            lines += ["", f"### `[{name}]`", "", description, ""]
            lines += ["| key | type | default | meaning | environment |", "| --- | --- | --- | --- | --- |"]
            lines += [_row(program, setting) for setting in settings]
    return "\n".join(lines) + "\n"


def _row(program: Program, setting: Setting) -> str:
    name = f"{program.prefix}{setting.section}__{setting.key}".upper()
    cells = (
        f"`{setting.key}`",
        type_text(setting.info),
        default_text(setting),
        setting.text.replace("|", "\\|"),
        f"`{name}`",
    )
    return f"| {' | '.join(cells)} |"


def example(program: Program) -> str:
    """An annotated file in which every setting stands at its default, commented out."""
    lines = [f"# Settings of the Skerry {program.title.lower()}: every one there is, at its default."]
    lines += _comment(f"Read from {program.read_from.replace('`', '')}. Later ones win: {program.order}.")
    lines += _comment("To change one, remove the # before it; leave the rest out, or as it is.")
    lines += [f"# Made by: {COMMAND}"]
    for name, description, settings in sections(program.settings):
        lines += ["", "", *_comment(description), f"[{name}]"]
        for setting in settings:
            lines += ["", *_comment(setting.text)]
            if setting.info.default is None:
                lines += ["# Not set by default; an example:"]
            lines += [f"#{setting.key} = {toml(setting.example)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text.replace("`", ""), COMMENT_WIDTH)]


def outdated() -> dict[Path, str]:
    """The files that are not what they should be, with what they should be."""
    wanted = {REFERENCE: reference(), **{program.example: example(program) for program in PROGRAMS}}
    return {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main() -> None:
    """Write the files, or check them."""
    changes = outdated()
    names = ", ".join(str(path.relative_to(ROOT)) for path in changes)
    if "--check" in sys.argv[1:]:
        if changes:
            raise SystemExit(f"out of date: {names}; run: {COMMAND}")
        return
    for path, text in changes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"written: {names}" if names else "all up to date")


if __name__ == "__main__":
    main()
