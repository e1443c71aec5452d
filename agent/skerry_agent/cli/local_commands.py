"""``skerry-agent chat`` and ``skerry-agent bench``: thin clients of the local API."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skerry_agent.cli.device import DEFAULT_STATE, AsJson, State
from skerry_agent.errors import UsageError

if TYPE_CHECKING:
    from skerry_agent.cli.local_api import LocalApi

HISTORY = Path("skerry-agent") / "chat_history"
HISTORY_LINES = 1000
MODEL = typer.Argument(help="A channel, name or NAME@VERSION; else the first that is active.")
Url = Annotated[str | None, typer.Option(help="The local API; else that of the daemon on the state folder.")]


def chat(
    model: Annotated[str, MODEL] = "",
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    temperature: Annotated[float | None, typer.Option(help="0 is always the likeliest token.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.")] = None,
    url: Url = None,
    state: State = DEFAULT_STATE,
) -> None:
    """Chat with a model in the terminal. Reads the question from stdin when that is no terminal.

    The environment's SKERRY_AGENT_TOKEN is sent along, for devices that ask for a token.
    """
    from skerry_agent.cli.chatting import Chat, terminal_tell, terminal_write  # noqa: PLC0415 - see app.py
    from skerry_agent.cli.local_api import find_api  # noqa: PLC0415 - see app.py

    api = find_api(url, state)
    given = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in given.items() if value is not None}
    one = Chat(api, model or _first_model(api), terminal_write, terminal_tell, system=system, options=options)
    if not sys.stdin.isatty():
        question = sys.stdin.read().strip()
        if not question:
            raise UsageError("stdin is empty: there is no question")
        speed = one.answer(question)
        if sys.stderr.isatty():
            terminal_tell(f"[{speed}]")
        return
    terminal_tell(f"chatting with {one.model}; /help shows what else there is")
    one.run(_line_reader())


def bench(
    model: Annotated[str, MODEL] = "",
    prompt: Annotated[str, typer.Option(help="Sizes of prompts to read, in tokens.")] = "128,512",
    generate: Annotated[str, typer.Option(help="Sizes of answers to write, in tokens.")] = "32,128",
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Measured rounds of each.")] = 5,
    url: Url = None,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Measure a model: how fast it reads (pp) and writes (tg), over the local API."""
    from skerry_agent.cli.bench_show import bench_json, show_bench  # noqa: PLC0415 - heavy
    from skerry_agent.cli.benching import measure  # noqa: PLC0415 - see app.py
    from skerry_agent.cli.chatting import terminal_tell  # noqa: PLC0415 - see app.py
    from skerry_agent.cli.local_api import find_api  # noqa: PLC0415 - see app.py

    api = find_api(url, state)
    name = model or _first_model(api)
    told: Callable[[str], None] = terminal_tell if sys.stderr.isatty() and not as_json else lambda _: None
    results = measure(api, name, prompts=_sizes(prompt), answers=_sizes(generate), rounds=rounds, told=told)
    entry = api.get(f"/v1/models/{name}")
    if as_json:
        typer.echo(bench_json(entry, results))
    else:
        show_bench(entry, results)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of sizes such as 128,512") from error
    if any(size < 1 for size in sizes):
        raise UsageError(f"{text!r}: a size is at least 1 token")
    return sizes


def _first_model(api: "LocalApi") -> str:
    slots: dict[str, Any] = api.get("/health")["slots"]
    if not slots:
        raise UsageError("no model is active: name one, or activate one with skerry-agent activate")
    return next(iter(slots))


def _line_reader() -> Callable[[], str]:
    """Lines from the terminal, with a history that survives."""
    import atexit  # noqa: PLC0415 - only a terminal needs it
    import os  # noqa: PLC0415 - see above
    import readline  # noqa: PLC0415 - see above

    root = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(root).expanduser() / HISTORY
    readline.set_history_length(HISTORY_LINES)
    if path.exists():
        readline.read_history_file(path)

    def keep() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        readline.write_history_file(path)

    atexit.register(keep)
    return lambda: input(">>> ")
