"""What the commands about one device share: its state folder, its client, and how results are shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from skerry_agent.errors import UsageError

DEFAULT_STATE = Path("/var/lib/skerry-agent")
State = Annotated[
    Path,
    typer.Option("--state", envvar="SKERRY_AGENT_DAEMON__STATE_DIR", help="The agent's state folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def device_client(state: Path) -> Any:
    """The administration of the device with this state folder, running or not."""
    from skerry_agent.admin import connect  # noqa: PLC0415 - heavy
    from skerry_agent.state import StateFolder  # noqa: PLC0415 - see above

    log_warnings_only()
    if not state.exists() and state == DEFAULT_STATE:
        raise UsageError(f"no agent has run here yet: {state} does not exist; name its folder with --state")
    return connect(StateFolder(state))


def log_warnings_only() -> None:
    """A command's stdout is its result: what it logs on the way goes to stderr, and only when it matters."""
    from skerry_agent.logs import configure_logs  # noqa: PLC0415 - heavy

    configure_logs("warning", "auto")


def show_result(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """Print a result as JSON or for a person."""
    if as_json:
        import json  # noqa: PLC0415 - small, but only here

        typer.echo(json.dumps(result, indent=2))
    else:
        show(result)
