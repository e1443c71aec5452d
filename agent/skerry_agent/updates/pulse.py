"""Whether a source still brings something worth the wait. Pure."""


class Pulse:
    """Judges a source by what came in the time that was spent waiting for it.

    Silence is what time limits of the sources see; a server that drips one byte after the other they do not.

    Args:
        least_bytes_per_s: A source that brings less is not worth it.
        over_s: Judged over so many seconds of waiting.
    """

    def __init__(self, least_bytes_per_s: float, over_s: float) -> None:
        self._least = least_bytes_per_s
        self._over_s = over_s
        self._waited_s = 0.0
        self._bytes = 0

    @property
    def due_s(self) -> float:
        """Seconds of waiting until the next judgement."""
        return max(0.0, self._over_s - self._waited_s)

    def beats(self, waited_s: float, count: int) -> bool:
        """Note a time of waiting and the bytes that came in it; whether the source is still good enough."""
        self._waited_s += waited_s
        self._bytes += count
        if self._waited_s < self._over_s:
            return True
        enough = self._bytes >= self._least * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return enough
