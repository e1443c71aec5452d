"""How the results of the workshop are named."""

import re
from typing import Final

_SUFFIX = re.compile(r"[-._](?:f16|bf16|f32|fp16|fp32|q\d(?:_[01]|_k(?:_[sml])?)|tq\d_0|iq\d_[a-z]+)$")
_NAME_CHARS: Final = 64


def result_name(parent: str, kind: str) -> str:
    """What a result is called without ``--as``: the parent's name, its quantization replaced."""
    suffix = "-" + kind.lower()
    stem = _SUFFIX.sub("", parent.lower())
    return stem[: _NAME_CHARS - len(suffix)].rstrip("-._") + suffix
