"""The options by which ``find``, ``list`` and ``advise`` choose models; see workshop/library/filters.py."""

from typing import Annotated

import typer

ParamsOption = Annotated[
    str | None, typer.Option("--params", metavar="RANGE", help="Parameters: 0.1B-1.4B, 500M- or -3B.")
]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="micro (100M-1.4B), small (1.5B-13.9B), medium (14B-30B), below or above.",
    ),
]
FamilyOption = Annotated[
    str | None, typer.Option("--family", metavar="NAME", help="Qwen3, Gemma 3, SmolLM2, Llama, BitNet, …")
]
LicenseOption = Annotated[
    str | None, typer.Option("--license", metavar="ID", help="Such as apache-2.0 or mit.")
]
QuantizationOption = Annotated[
    str | None, typer.Option("--quantization", metavar="TYPE", help="Such as Q4_0, Q4_K_M or F16.")
]
ContextOption = Annotated[
    int | None,
    typer.Option("--context", metavar="TOKENS", min=1, help="Least trained context."),
]
