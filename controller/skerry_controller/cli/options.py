"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Work on this data folder, on which no controller runs, instead of over HTTP."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", envvar="SKERRY_KEYS", help="The keyring's folder; else the one given to 'login'."),
]
