"""Which architectures the converter knows, read from its source without running it."""

import ast
from pathlib import Path
from typing import Final

from skerry_controller.errors import PeerError, WorldError

_TABLE: Final = "TEXT_MODEL_MAP"


def known_architectures(source: Path) -> frozenset[str]:
    """Names as ``config.json`` writes them, such as ``Qwen3ForCausalLM``.

    Raises:
        WorldError: This version of the converter keeps them elsewhere.
    """
    file = source / "conversion" / "__init__.py"
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == _TABLE:
                return frozenset(ast.literal_eval(node.value))
    except (OSError, ValueError, SyntaxError) as error:
        raise WorldError(f"cannot read the converter's architectures from {file}: {error}") from error
    raise WorldError(f"{file} does not list the converter's architectures")


def check_architecture(architecture: str, source: Path) -> None:
    """Refuse what the converter does not know.

    Raises:
        PeerError: It does not; names the ones that are most alike.
    """
    known = known_architectures(source)
    if architecture not in known:
        stem = architecture[:4].lower()
        alike = sorted(name for name in known if name.lower().startswith(stem))[:6]
        hint = f" (it knows {', '.join(alike)})" if alike else f" (it knows {len(known)} others)"
        raise PeerError(f"llama.cpp has no converter for the architecture {architecture}{hint}")
