"""From the bytes of tokens to the text that a caller may see: whole characters, nothing of a stop string."""

import codecs


class TextStream:
    """Joins token bytes to text, and ends it before the first stop string.

    Bytes of an unfinished character and text that may become a stop string are held back. Which stop string
    ends the text does not depend on where the borders between tokens lie: the one that is complete first
    does, and of those the longest.

    Args:
        stop: The stop strings; none may be empty.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        if any(not text for text in stop):
            raise ValueError("a stop string is empty")
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Take the bytes of one token; return the text that is safe to show now, maybe none.

        Sets ``stopped`` when a stop string is complete; nothing may be fed after that.
        """
        if self.stopped:
            raise RuntimeError("the text has ended at a stop string already")
        if not self._stop:
            return self._decoder.decode(piece)
        self._held += self._decoder.decode(piece)
        if not self._held:
            return ""
        start = self._first_stop()
        if start is not None:
            self.stopped = True
            text, self._held = self._held[:start], ""
            return text
        keep = self._held_back()
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """End the text; return what was held back as a possible stop string. Unfinished bytes are dropped."""
        text, self._held = self._held, ""
        return text

    def _first_stop(self) -> int | None:
        found = [(at + len(text), at) for text in self._stop if (at := self._held.find(text)) >= 0]
        return min(found)[1] if found else None

    def _held_back(self) -> int:
        """The length of the longest end of the text that begins some stop string."""
        longest = 0
        for text in self._stop:
            for length in range(min(len(text) - 1, len(self._held)), longest, -1):
                if self._held.endswith(text[:length]):
                    longest = length
                    break
        return longest
