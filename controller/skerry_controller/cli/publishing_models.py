"""``skerry model publish``: the work behind the options."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_controller.artifacts.building import spdx_id
from skerry_controller.artifacts.settings_file import read_acceptance
from skerry_controller.artifacts.variants import VariantFile, check_variants, parse_entry_variant
from skerry_controller.cli.adding import OperatorKeys, Request, add_file
from skerry_controller.cli.client import work
from skerry_controller.cli.model_frame import opened_library
from skerry_controller.cli.output import print_line, print_note
from skerry_controller.errors import ControllerError, UsageError
from skerry_controller.workshop.comparing.reading import Subject
from skerry_controller.workshop.library import Library
from skerry_controller.workshop.publishing import (
    Margins,
    draft_acceptance,
    draft_toml,
    model_card,
)
from skerry_protocol.acceptance import Acceptance
from skerry_protocol.names import ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for."""

    model: str
    variants: tuple[str, ...]
    as_ref: str | None
    acceptance: Path | None
    edit: bool
    margins: Margins
    device_class: str | None
    license_id: str | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """One variant: for whom, which model, what is asked, as a file and as read."""

    selector: str
    subject: Subject
    toml: str
    acceptance: Acceptance


def publish_model(
    wish: Wish, keys: Path | None, controller: Path | None, data: Path | None
) -> dict[str, Any]:
    """Draft, show, sign and publish; returns what ``--json`` prints.

    Raises:
        ControllerError: Anything is wrong; nothing was published.
    """
    if wish.acceptance is not None and wish.edit:
        raise UsageError("--acceptance gives the checks: edit that file, or leave the option out")
    with opened_library(data, read_only=True) as library:
        named = [parse_entry_variant(text) for text in wish.variants] + [("", wish.model)]
        check_variants([selector for selector, _ in named])
        parts = [_part(library, selector, text, wish) for selector, text in named]
        main = parts[-1].subject.entry
        ref = main.ref if wish.as_ref is None else ArtifactRef.parse(wish.as_ref)
        licence = wish.license_id or spdx_id(_licence(parts))
        card = model_card(ref, [(p.selector, p.subject, p.acceptance) for p in parts], licence)
        result: dict[str, Any] = {
            "artifact": str(ref),
            "licence": licence,
            "checks": [
                {"selector": p.selector, "model": str(p.subject.entry.ref), "toml": p.toml} for p in parts
            ],
            "card": card,
            "outcome": "dry-run",
        }
        if not wish.dry_run:
            request = _request(library, ref, parts, licence, card)
            place = controller if controller is not None else _controller_of(data)
            result |= add_file(request, OperatorKeys(keys), place)
            result["next"] = _next_command(ref, place)
    return result


def print_published(result: dict[str, Any]) -> None:
    """The checks as they were signed, what is missing, and what to run next."""
    for part in result["checks"]:
        print_note(f"checks for {part['selector'] or 'all devices'} ({part['model']}):")
        for line in part["toml"].rstrip().split("\n"):
            print_note(f"  {line}")
    if result["licence"] is None:
        print_note("warning: no licence is stated: look where the model came from, and give --license ID")
    if result["outcome"] == "dry-run":
        print_line(result["card"])
        return
    if result["outcome"] == "unchanged":
        print_line(f"{result['artifact']} is published already, with these very bytes")
    else:
        print_line(f"{result['artifact']} is signed and published as {result['target_path']}")
    print_line(f"next: {result['next']}")


def _part(library: Library, selector: str, text: str, wish: Wish) -> _Part:
    entry = library.find(text)
    subject = Subject(entry, library.figures(entry))
    toml = draft_toml(draft_acceptance(subject, selector, wish.margins, wish.device_class))
    if wish.acceptance is not None:
        acceptance = read_acceptance(wish.acceptance)
        return _Part(selector, subject, wish.acceptance.read_text(encoding="utf-8"), acceptance)
    return _Part(selector, subject, *_read(toml, edit=wish.edit))


def _request(
    library: Library, ref: ArtifactRef, parts: Sequence[_Part], licence: str | None, card: str
) -> Request:
    *before, main = parts
    return Request(
        ref=ref,
        kind="model",
        file=library.path(main.subject.entry),
        variants=tuple(
            VariantFile(part.selector, library.path(part.subject.entry), part.acceptance) for part in before
        ),
        acceptance=main.acceptance,
        license_id=licence,
        card=card,
    )


def _read(text: str, *, edit: bool) -> tuple[str, Acceptance]:
    """The checks of a text, as a person made it.

    Raises:
        UsageError: There is no editor, it failed, or the result is no file of checks.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-checks-") as folder:
        file = Path(folder) / "checks.toml"
        file.write_text(text, encoding="utf-8")
        if edit:
            _edit(file)
        return file.read_text(encoding="utf-8"), read_acceptance(file)


def _edit(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("no editor is known: set EDITOR, or write the checks to a file for --acceptance")
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the person's own
    except OSError as error:
        raise UsageError(f"cannot start the editor {editor!r}: {error.strerror}") from error
    if done.returncode:
        raise UsageError(f"the editor {editor!r} ended with {done.returncode}: nothing was published")


def _licence(parts: list[_Part]) -> str | None:
    stated = {part.subject.entry.licence.id for part in parts}
    if len(stated) > 1:
        named = ", ".join(sorted(str(each or "none") for each in stated))
        raise UsageError(f"the variants have different licences ({named}): give one with --license")
    return stated.pop()


def _controller_of(data: Path | None) -> Path | None:
    """``--data`` may be a controller's folder; then its library and the controller are one."""
    return data if data is not None and (data / "controller.db").exists() else None


def _next_command(ref: ArtifactRef, controller: Path | None) -> str:
    """The rollout to run, for the channel that has this model now, where one has."""
    try:
        channels: list[dict[str, Any]] = work(controller, lambda client: client.get("/channels"))
    except ControllerError:  # published it is: the hint is not worth an error
        channels = []
    following = [c["name"] for c in channels if str(c.get("current") or "").startswith(f"{ref.name}@")]
    if following:
        return f"skerry rollout create {following[0]} --to {ref}"
    return f"skerry channel set LINE/TRACK --selector k=v --artifact {ref}"
