"""A piece of long work at the controller, as the API shows it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from skerry_controller.workshop.jobs.requests import JobRequest
from skerry_controller.workshop.progress import StopSign

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(slots=True)
class Job:
    """One job. Its fields are changed by the service alone, its progress by its thread.

    Attributes:
        id: Such as ``j-abcd2345``.
        request: What was asked for.
        actor: Who asked.
        asked_at: When.
        state: Where it stands.
        progress: What is done at the moment, how much of it, and of how much.
        result: What came of it, when it is done.
        error: Code and message, when it failed or was cancelled.
        notes: What a person should see: the licence, warnings.
    """

    id: str
    request: JobRequest
    actor: str
    asked_at: datetime
    state: State = "waiting"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: tuple[str, float, float | None] | None = None
    result: dict[str, Any] | None = None
    error: tuple[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    stop: StopSign = field(default_factory=StopSign)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")
