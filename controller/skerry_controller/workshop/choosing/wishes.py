"""What a person or a device asks of a model."""

from typing import Literal

import msgspec

from skerry_controller.errors import UsageError

Task = Literal["chat", "complete"]


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
