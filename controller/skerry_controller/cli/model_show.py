from pathlib import Path
from typing import Any

import typer

from skerry_controller.cli.model_frame import AsJson, Controller, Data, Model

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(model: Model, *, data: Data = None, controller: Controller = None, as_json: AsJson = False) -> None:
    """Show a model: where it came from, its licence, what is inside, what it needs, what was measured."""
    from skerry_controller.cli.output import print_json  # noqa: PLC0415 - heavy, and only here

    shown = _of_folder(model, data) if controller is None else _of_controller(model, controller)
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _of_folder(model: str, data: Path | None) -> dict[str, Any]:
    from skerry_controller.cli.model_frame import opened_library  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.library.views import entry_view, figures_view  # noqa: PLC0415 - the same

    with opened_library(data, read_only=True) as library:
        entry = library.find(model)
        shown = entry_view(entry)
        shown["path"] = str(library.path(entry))
        shown["figures"] = [figures_view(figures) for figures in library.figures(entry)]
    return shown


def _of_controller(model: str, url: str) -> dict[str, Any]:
    from skerry_controller.cli.client import ControllerClient, work  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.cli.model_remote import model_path  # noqa: PLC0415 - the same

    async def read(client: ControllerClient) -> dict[str, Any]:
        path = await model_path(client, model)
        shown: dict[str, Any] = await client.get(path)
        return shown | {"figures": await client.get(f"{path}/figures")}

    return work(None, read, url=url)


def _print(shown: dict[str, Any]) -> None:
    from skerry_controller.cli.output import print_table  # noqa: PLC0415 - heavy, and only here

    print_table(("", ""), [*_facts(shown), *_history(shown)], empty="")
    if shown["figures"]:
        print_table(("FIGURE", "MEDIAN", "LOW", "HIGH", "N", "AT", "MACHINE"), _figures(shown), empty="")


def _facts(shown: dict[str, Any]) -> list[tuple[str, object]]:
    from skerry_controller.cli.output import format_bytes  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.library.filters import format_count  # noqa: PLC0415 - the same

    described = shown["description"]
    inside = ", ".join(f"{count} {kind}" for kind, count in shown["tensor_types"].items())
    return [
        ("model", shown["ref"]),
        ("file", f"{shown.get('path', 'at the controller')} ({format_bytes(shown['length'])})"),
        ("sha256", shown["sha256"]),
        ("class", f"{shown['size_class']} ({format_count(shown['parameters'])} parameters)"),
        ("family", shown["family"]),
        ("architecture", described["architecture"]),
        ("quantization", shown["quantization"]),
        ("tensors", inside),
        ("context", f"{shown['context_length']} tokens"),
        ("KV cache", f"{format_bytes(described['kv_bytes_per_token'])} a token"),
        (
            "chat template",
            "yes" if described["has_chat_template"] else "no: a base model?",
        ),
        ("licence", _licence(shown)),
    ]


def _licence(shown: dict[str, Any]) -> str:
    licence = shown.get("licence", {})
    if not licence.get("id"):
        return "nobody states one"
    link = f" {licence['link']}" if licence.get("link") else ""
    return f"{licence['id']} (stated by the {licence.get('source')}){link}"


def _history(shown: dict[str, Any]) -> list[tuple[str, object]]:
    from skerry_controller.cli.output import format_time  # noqa: PLC0415 - heavy, and only here

    origin, lineage = shown["origin"], shown.get("lineage")
    revision = f" at {origin['revision']}" if origin.get("revision") else ""
    rows: list[tuple[str, object]] = [
        ("from", f"{origin['address']}{revision}"),
        ("added", format_time(shown["added_at"])),
    ]
    rows += [("note", note) for note in shown.get("notes", ())]
    if lineage:
        rows.append(("made from", f"{lineage['parent']} by {lineage['method']} ({lineage['tool']})"))
        rows += [(key.replace("_", " "), value) for key, value in lineage.get("settings", {}).items()]
        rows += [("warning", warning) for warning in lineage.get("warnings", ())]
    return rows


def _figures(shown: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            figure["name"],
            f"{figure['median']:.4g} {figure['unit']}",
            f"{figure['low']:.4g}",
            f"{figure['high']:.4g}",
            figure.get("repetitions", 1),
            ", ".join(f"{key} {value}" for key, value in figure.get("at", {}).items()),
            each["machine"]["name"],
        )
        for each in shown["figures"]
        for figure in each["figures"]
    ]
