"""What a person or a device asks of a model."""

import math
import re
from typing import Final, Literal

import msgspec

from skerry_controller.errors import UsageError

Task = Literal["chat", "complete"]

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class Wishes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds; None does not matter.

    Attributes:
        device_class: Of the machines that will run it; None where no figure of a machine counts.
        memory_bytes: That a model may have.
        memory_from: Where that number comes from, for people.
        disk_bytes: That its file may have.
        min_tok_s: Least tokens a second for one answer.
        task: ``chat`` needs a chat template.
        context_tokens: The longest conversation.
    """

    device_class: str | None = None
    memory_bytes: int | None = None
    memory_from: str = "given"
    disk_bytes: int | None = None
    min_tok_s: float | None = None
    task: Task = "chat"
    context_tokens: int = 2048


def parse_task(text: str) -> Task:
    """The task of that name.

    Raises:
        UsageError: There is none.
    """
    tasks: dict[str, Task] = {"chat": "chat", "complete": "complete"}
    if text not in tasks:
        raise UsageError(f"{text!r} is no task: say {' or '.join(tasks)}")
    return tasks[text]


def parse_size(text: str) -> int:
    """Bytes that ``2GiB``, ``900MiB``, ``4GB`` or ``1000000`` means.

    Raises:
        UsageError: It has another form, or is nothing.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size: write 2GiB, 900MiB or 4GB")
    unit = math.pow(1024 if match[3] else 1000, _POWERS[match[2].upper()])
    size = round(float(match[1]) * unit)
    if size <= 0:
        raise UsageError(f"{text!r} leaves no room for any model")
    return size
