"""Takes apart what a model thinks aloud, ``<think>…</think>`` at the beginning, and what it answers."""

from skerry_agent.api.reply.pieces import Content, Piece, Reasoning, partial_suffix

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Feed it text as it comes; what may still be a tag is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now."""
        self._held += text
        pieces: list[Piece] = []
        if self._state == "start":
            self._begin()
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            self._state = "inside" if self._held else "opened"
        if self._state == "inside":
            self._think(pieces)
        if self._state == "after":
            self._held = self._held.lstrip("\n")
            self._state = "outside" if self._held else "after"
        if self._state == "outside" and self._held:
            pieces.append(Content(self._held))
            self._held = ""
        return pieces

    def finish(self) -> list[Piece]:
        """What is left when the text has ended."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [Reasoning(held) if self._state == "inside" else Content(held)]

    def _begin(self) -> None:
        begun = self._held.lstrip()
        if begun.startswith(OPEN):
            self._held = begun.removeprefix(OPEN)
            self._state = "opened"
        elif not OPEN.startswith(begun):
            self._state = "outside"

    def _think(self, pieces: list[Piece]) -> None:
        thought, closed, rest = self._held.partition(CLOSE)
        if closed:
            self._held, self._state = rest, "after"
            thought = thought.rstrip("\n")
        else:
            certain = thought[: len(thought) - partial_suffix(thought, CLOSE)].rstrip("\n")
            thought, self._held = certain, thought[len(certain) :]
        if thought:
            pieces.append(Reasoning(thought))
