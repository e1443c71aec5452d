"""The sandbox in which a model's chat template runs: no way out, and no way to compute without an end.

Loops end by the clock (``time_limit``), and memory is bounded by the kernel (``growth_limit``). Neither
reaches what the interpreter does in one go, such as arithmetic with huge numbers; so that is refused here.

Imports jinja2, so this belongs to the runner process only.
"""

from typing import Any

import jinja2.ext
from jinja2.exceptions import SecurityError
from jinja2.filters import do_round
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_NUMBER_BITS = 4096
MAX_DECIMALS = 300


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}`` marks training data for transformers; for rendering its content passes through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads this class attribute as a plain set

    def parse(self, parser: Parser) -> Node | list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """jinja2 as Hugging Face's transformers sets it up, with bounds on numbers."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        # S701: the output is a prompt, not HTML; escaping would change what the model reads.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, jinja2.ext.loopcontrols],
            optimized=False,  # else constants are computed while the template is read
        )
        self.filters["round"] = _round

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right``, of numbers that end."""
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            bits = bits * right if operator == "**" else max(bits, right.bit_length())
            if bits > MAX_NUMBER_BITS:
                raise SecurityError("a number is too large")
        return super().call_binop(context, operator, left, right)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > MAX_DECIMALS:
        raise SecurityError("a number is rounded to too many places")
    return do_round(value, precision, method)
