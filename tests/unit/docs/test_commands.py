"""Every command that a page shows exists, with the options that it is shown with; links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from skerry_agent.cli.app import app as agent_app
from skerry_controller.cli.app import app as controller_app

ROOT = Path(__file__).parents[3]
GENERATED = {"cli.md", "settings.md"}
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    page for page in (ROOT / "docs").rglob("*.md") if page.name not in GENERATED
)
PROGRAMS = {"skerry": controller_app, "skerry-agent": agent_app}


def blocks(page: Path) -> Iterator[str]:
    for block in re.findall(
        r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        yield block.replace("\\\n", " ")


def commands(page: Path) -> Iterator[str]:
    """Lines of code blocks that run one of our programs."""
    for block in blocks(page):
        for line in block.splitlines():
            if match := re.search(r"(?:^|\| |-- |__\w+=\S+ )(skerry(?:-agent)? [a-z].*)", line):
                yield match[1]


def words_of(command: str) -> list[str]:
    command = re.sub(r"\$\(.*?\)", "SUBSTITUTED", command.split(" #", maxsplit=1)[0])
    words = shlex.split(re.split(r" [|>] | < ", command)[0])
    return [word for word in words if word]


def check(command: str) -> None:
    program, *words = words_of(command)
    found: Any = typer.main.get_command(PROGRAMS[program])
    context = typer.Context(found, info_name=program)
    while hasattr(found, "list_commands"):
        assert words, f"{command}: which command?"
        child = found.get_command(context, words.pop(0))
        assert child is not None, f"there is no {command}"
        context = typer.Context(child, info_name=program, parent=context)
        found = child
    known = {option for parameter in found.params for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{command}: {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_that_a_page_shows_exist(page: Path) -> None:
    for command in commands(page):
        if not re.match(r"skerry-agent:|skerry:", command):
            check(command)


def test_the_tutorial_is_read_at_all() -> None:
    assert len(list(commands(ROOT / "docs" / "tutorial" / "first-fleet.md"))) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
