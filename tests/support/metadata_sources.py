"""Sources of repository files for tests: they count, fail, cut and swap."""

from collections.abc import Callable, Mapping

from skerry_agent.errors import WorldError
from skerry_agent.events import EventSink
from skerry_protocol.records import Value


class RecordingSource:
    """Reads from a mapping, remembers what was asked, and can fail at one request."""

    def __init__(self, files: Mapping[str, bytes], *, fail_at: int | None = None) -> None:
        self.files = files
        self.fail_at = fail_at
        self.asked: list[str] = []
        self.before_answer: Callable[[str], None] = lambda _name: None

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        self.asked.append(name)
        self.before_answer(name)
        if self.fail_at is not None and len(self.asked) - 1 == self.fail_at:
            raise WorldError(f"the link broke at {name}")
        return self.files.get(name)


class RecordingEvents(EventSink):
    """Remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Value]]] = []

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        self.events.append((name, data))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class ManualClock:
    """A wall clock and a monotonic clock that only the test moves."""

    def __init__(self, wall: float, monotonic: float = 1000.0) -> None:
        self.wall = wall
        self.monotonic = monotonic

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
