"""Copies of cells in memory, of prefixes that nobody uses at the moment.

A step looks at every cell up to the last that is held by anybody, for each of its tokens: cells that wait for
a request to come slow down those that run. A copy costs some milliseconds, out and back; to compute the same
again would take seconds.
"""

from collections.abc import Callable
from typing import Protocol

from skerry_agent.runtime.prefix_tree import Node, Parked

PARK_AFTER_S = 1.0
"""A prefix that was not used for so long is parked while others run."""
MAX_PARKED_AT_ONCE = 512
"""Tokens: copying more would make those that run wait too long."""


class States(Protocol):
    """The part of the model that is used here."""

    max_saved_tokens: int

    def save_state(self, sequence: int) -> bytearray:
        """What the cache holds of a sequence."""

    def load_state(self, sequence: int, state: memoryview, start: int, end: int) -> bool:
        """Fill an empty sequence's positions; False, and it is empty still, when the state does not fit."""

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` at these positions as well, in place of its own."""

    def cut(self, sequence: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; 0 frees it."""


class ParkedPrefixes:
    """The parked nodes of the prefix trees.

    Args:
        states: The model.
        spare: A sequence that is empty whenever nobody uses it here; None parks nothing.
        max_tokens: The most tokens whose cells lie copied.

    Attributes:
        tokens: The tokens whose cells lie copied.
    """

    def __init__(self, states: States, spare: int | None, max_tokens: int) -> None:
        self._states = states
        self._spare = spare
        self._max_tokens = max_tokens
        self._nodes: set[Node] = set()
        self.tokens = 0

    @property
    def piece_tokens(self) -> int:
        """The most tokens of one copy; 0 when nothing is parked at all."""
        if self._spare is None or not self._max_tokens:
            return 0
        return min(self._states.max_saved_tokens, MAX_PARKED_AT_ONCE)

    def put(self, leaf: Node, source: int) -> None:
        """Copy a leaf's cells from a sequence, and only those: what is above it may go on being held."""
        spare = self._sequence()
        self._states.share(source, spare, leaf.start, leaf.end)
        leaf.parked = Parked(leaf.start, leaf.end, self._states.save_state(spare))
        self._states.cut(spare, 0)
        self._nodes.add(leaf)
        self.tokens += leaf.end - leaf.start

    def take(self, node: Node, target: int, end: int) -> Node | None:
        """Let a sequence hold a node's cells again, as far as ``end``.

        Returns:
            The node, or the upper part of it, whose cells those are; None when llama.cpp did not take the
            copy, which is of no use then.
        """
        copy = node.parked
        if copy is None:
            raise RuntimeError("a node without a copy of its cells is to be taken back")
        if not self.copy_back(copy, target, node.start, end):
            return None
        if end < node.end:
            return node.split(end - node.start)
        self.drop_copy(node)
        return node

    def copy_back(self, copy: Parked, target: int, start: int, end: int) -> bool:
        """Let a sequence hold cells of a copy at these positions; False when llama.cpp does not take it."""
        spare = self._sequence()
        if not self._states.load_state(spare, memoryview(copy.state), copy.start, copy.end):
            return False
        self._states.share(spare, target, start, end)
        self._states.cut(spare, 0)
        return True

    def hold(self, node: Node, work: Callable[[], bool]) -> bool:
        """Do something while which a node cannot be pushed out."""
        self._nodes.discard(node)
        try:
            return work()
        finally:
            self._nodes.add(node)

    def drop_copy(self, node: Node) -> None:
        """Free a node's copy; it has to get cells, or to go."""
        if node.parked is not None and node in self._nodes:
            self._nodes.remove(node)
            self.tokens -= node.parked.end - node.parked.start
            node.parked = None

    def overflow(self, value: Callable[[Node], float]) -> Node | None:
        """The least valuable leaf, when there are too many."""
        if self.tokens <= self._max_tokens:
            return None
        return min((node for node in self._nodes if not node.children), key=value, default=None)

    def _sequence(self) -> int:
        if self._spare is None:
            raise RuntimeError("parking needs a spare sequence")
        return self._spare
