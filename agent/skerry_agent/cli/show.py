"""Results as a person reads them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from skerry_agent.cli.memory_words import budget, in_memory, memory
from skerry_agent.cli.update_words import progress, waiting

console = Console()
MiB = 1024 * 1024


def show_status(status: dict[str, Any]) -> None:
    """``skerry-agent status``."""
    if not status["running"]:
        console.print("the daemon does not run on this state folder")
    elif status["device"] is None:
        console.print("running, not enrolled")
    else:
        link = "connected" if status["connected"] else "offline"
        console.print(f"running as {status['device']}, {link}")
    table = Table("slot", "active", "before", "update", "reason", box=None, pad_edge=False)
    updates = status["updates"]
    names = {slot["name"]: slot for slot in status["slots"]}
    for name in sorted({*names, *updates}):
        slot, update = names.get(name, {}), updates.get(name, {})
        table.add_row(
            name,
            _pair(slot, "active", "adapters"),
            _pair(slot, "previous", "previous_adapters"),
            progress(update),
            waiting(update),
        )
    console.print(table if table.row_count else "no model is active; see skerry-agent import --help")
    for runner in status["runners"]:
        console.print(
            f"runner {runner['label']}: {in_memory(runner)}, {memory(runner)},"
            f" {runner['in_flight']} under way, {runner['restarts']} restarts",
            highlight=False,
            soft_wrap=True,
        )
    _show_memory(status.get("memory"))


def show_models(result: dict[str, Any]) -> None:
    """``skerry-agent models``."""
    table = Table("model", "size", "quantization", "licence", "from", "active in", box=None, pad_edge=False)
    for model in result["models"]:
        table.add_row(
            model["ref"],
            f"{model['bytes'] / MiB:.1f} MiB",
            str(model["description"].get("quantization") or _adapter(model)),
            model["license"] or "-",
            "fleet" if model["signed"] else "local",
            model["active_in"] or (f"before, {model['previous_in']}" if model["previous_in"] else "-"),
        )
    console.print(table if table.row_count else "no models; see skerry-agent import --help")
    _show_runners(result["models"])
    _show_memory(result["memory"])


def _pair(slot: dict[str, Any], model: str, adapters: str) -> str:
    """``smol@1 + german@1``."""
    return " + ".join((slot.get(model) or "-", *slot.get(adapters, ())))


def _adapter(model: dict[str, Any]) -> str:
    return f"LoRA on {model['base']}" if model.get("base") else "-"


def _show_runners(models: list[dict[str, Any]]) -> None:
    table = Table("in memory", "", "holds", "restarts", "pinned", box=None, pad_edge=False)
    for model in models:
        for runner in model["runners"]:
            table.add_row(
                model["ref"],
                in_memory(runner),
                memory(runner),
                str(runner["restarts"]),
                "yes" if model["pinned"] else "-",
            )
    if table.row_count:
        console.print()
        console.print(table)
    for model in models:
        for runner in model["runners"]:
            if runner["last_error"]:
                console.print(f"{model['ref']}: {runner['last_error']}", highlight=False, soft_wrap=True)


def show_pinned(result: dict[str, Any]) -> None:
    """``skerry-agent pin`` and ``unpin``."""
    console.print(f"pinned: {', '.join(result['pinned']) or 'nothing'}", highlight=False)


def show_events(result: dict[str, Any]) -> None:
    """``skerry-agent events``."""
    for event in result["events"]:
        at = datetime.fromtimestamp(event["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        fields = " ".join(f"{key}={value}" for key, value in event["data"].items())
        console.print(f"{at}  {event['name']}  {fields}", highlight=False, soft_wrap=True)


def show_import(result: dict[str, Any]) -> None:
    """``skerry-agent import``."""
    console.print(f"imported {result['ref']} ({result['bytes'] / MiB:.1f} MiB)", highlight=False)
    console.print(f"serve it with: skerry-agent activate {result['ref']}", highlight=False)


def show_slot(result: dict[str, Any]) -> None:
    """``skerry-agent activate`` and ``rollback``."""
    slot = result["slot"]
    name = slot["name"].removeprefix("local/")
    console.print(f"{_pair(slot, 'active', 'adapters')} is active; ask for it as '{name}'", highlight=False)


def show_tokens(result: dict[str, Any]) -> None:
    """``skerry-agent token list``."""
    table = Table("id", "label", "created", box=None, pad_edge=False)
    for token in result["tokens"]:
        at = datetime.fromtimestamp(token["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(token["id"], token["label"] or "-", at)
    console.print(table if table.row_count else "no tokens; see skerry-agent token create --help")


@contextmanager
def transfer_bar(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for bytes; on something else than a terminal only its first and last line show."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show_memory(held: dict[str, int] | None) -> None:
    if held:
        console.print(budget(held), highlight=False)
