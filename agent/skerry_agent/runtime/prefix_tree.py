"""Which token sequences the cache holds, as a tree: what two of them have in common is one node. Pure.

A node is a run of tokens. A sequence of the cache holds the cells of all nodes from the root down to the one
where it ends, so every leaf is some sequence's end. A node may be parked as well: then no sequence holds it
or anything beneath it, and a copy of its cells lies in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parked:
    """A copy of cells: those of the positions from ``start`` up to ``end``."""

    start: int
    end: int
    state: bytearray | memoryview


class Node:
    """A run of tokens after those of its parent.

    Attributes:
        tokens: The run; only a root's is empty.
        start: How many tokens come before it.
        children: The nodes after it, by their first token.
        ends: The sequences that end here.
        hits: How often another request began with it.
        used: When it was last used, on the caller's clock.
        parked: A copy of its cells, and maybe of some before them, when no sequence holds them.
    """

    __slots__ = ("children", "ends", "hits", "parent", "parked", "start", "tokens", "used")

    def __init__(self, tokens: list[int], start: int, parent: "Node | None", used: float) -> None:
        self.tokens = tokens
        self.start = start
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.ends: set[int] = set()
        self.hits = 0
        self.used = used
        self.parked: Parked | None = None

    @property
    def edge(self) -> bool:
        """Whether no sequence holds anything beneath it."""
        return all(child.parked is not None for child in self.children.values())

    @property
    def end(self) -> int:
        """How many tokens there are with it."""
        return self.start + len(self.tokens)

    def path(self) -> list[int]:
        """All tokens from the root on."""
        return [*(self.parent.path() if self.parent else ()), *self.tokens]

    def up(self) -> "Iterator[Node]":
        """This node and those above it, without the root."""
        node: Node | None = self
        while node is not None and node.parent is not None:
            yield node
            node = node.parent

    def down(self) -> "Iterator[Node]":
        """All nodes beneath this one, the lowest first, and itself at last."""
        for child in self.children.values():
            yield from child.down()
        yield self

    def holder(self) -> int | None:
        """A sequence that holds this node's cells; None when it is parked, or an empty root."""
        node: Node | None = self if self.parked is None else None
        while node is not None and not node.ends:
            node = next((child for child in node.children.values() if child.parked is None), None)
        return next(iter(node.ends)) if node is not None else None

    def add(self, tokens: list[int], used: float) -> "Node":
        """A new child."""
        child = self.children[tokens[0]] = Node(tokens, self.end, self, used)
        return child

    def split(self, length: int) -> "Node":
        """Divide the run after its first ``length`` tokens; return the upper part, a new node.

        Of a parked node only the lower part stays parked: the caller has cells for the upper one.
        """
        if not 0 < length < len(self.tokens) or self.parent is None:
            raise ValueError("a node is divided inside its run")
        upper = self.parent.add(self.tokens[:length], self.used)
        upper.hits = self.hits
        self.tokens = self.tokens[length:]
        self.start = upper.end
        self.parent = upper
        upper.children[self.tokens[0]] = self
        return upper

    def remove(self) -> None:
        """Take a leaf off the tree."""
        if self.children or self.ends or self.parent is None:
            raise ValueError("only a leaf that nobody holds can go")
        del self.parent.children[self.tokens[0]]


def find(root: Node, tokens: Sequence[int]) -> tuple[Node, int]:
    """The deepest node that begins with what comes in ``tokens``, and how many of them are in the tree."""
    node, length = root, 0
    while length < len(tokens):
        child = node.children.get(tokens[length])
        if child is None:
            break
        common = common_length(child.tokens, tokens, length)
        node, length = child, length + common
        if common < len(child.tokens):
            break
    return node, length


def common_length(first: Sequence[int], second: Sequence[int], offset: int = 0) -> int:
    """How many tokens ``first`` and ``second[offset:]`` begin with in common.

    By halving: slices are compared in C, a loop over thousands of tokens would be slow.
    """
    low, high = 0, min(len(first), len(second) - offset)
    if first[:high] == second[offset : offset + high]:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if first[low:middle] == second[offset + low : offset + middle]:
            low = middle
        else:
            high = middle
    return low
