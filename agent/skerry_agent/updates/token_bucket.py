"""How fast bytes may be read. Pure: times come in as arguments, in monotonic seconds."""

_BURST_S = 0.25
"""What a pause leaves over may be used up within this time."""


class TokenBucket:
    """A token bucket that lets a caller go into debt, and tells how long to wait until it is paid.

    So any amount can be asked for at once, whatever the rate; the average is the rate all the same.
    """

    def __init__(self) -> None:
        self._tokens = 0.0
        self._at: float | None = None

    def take(self, count: int, bytes_per_s: float, now: float) -> float:
        """Take ``count`` bytes; returns how many seconds to wait before they are read.

        Args:
            count: Bytes.
            bytes_per_s: The rate, which may change from call to call; 0 is no limit.
            now: Monotonic seconds.
        """
        since_s = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        if not bytes_per_s:
            self._tokens = 0.0
            return 0.0
        self._tokens = min(self._tokens + since_s * bytes_per_s, _BURST_S * bytes_per_s) - count
        return max(0.0, -self._tokens / bytes_per_s)

    def give_back(self, count: int) -> None:
        """Return what was taken and not read."""
        self._tokens += count
