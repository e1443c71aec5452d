"""Who holds which cells of the model's cache: running sequences, and prefixes that others may begin with.

The counting is exact, so that llama.cpp is never asked for cells that it does not have. Sharing a prefix
moves only metadata: its cells are marked as belonging to one more sequence. Prefixes that nobody used for a
moment are parked: copied into memory, and back when a request begins with them.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.runtime.parked_prefixes import PARK_AFTER_S, ParkedPrefixes, States
from skerry_agent.runtime.prefix_tree import Node, Parked, common_length, find

MIN_SHARED_TOKENS = 8
"""A shorter common beginning is read again: it would only make small nodes."""
HALF_LIFE_S = 600.0
"""A prefix that was not used for so long is worth half."""
MIN_EVICTED_TOKENS = 64


Lend = Callable[[int, int], contextlib.AbstractContextManager[int | None]]
"""Gives a sequence of the cells from one position up to another; None when that cannot be had."""


class Cells(States, Protocol):
    """The part of the model that is used here."""

    kv_tokens: int
    sequences: int
    shares: bool


@dataclass(slots=True, eq=False)
class Held:
    """One running sequence.

    Attributes:
        number: Its number in llama.cpp.
        domain: Whose prefixes it shares; None for none.
        node: Where the part of it that others can share ends.
        own: Cells after that node, which it alone holds.
        length: Tokens that it has in the cache: those up to the node, and its own.
    """

    number: int
    domain: str | None
    node: Node
    own: int = 0
    length: int = 0

    def __post_init__(self) -> None:
        """It begins with what it shares."""
        self.length = self.node.end


class KvCache:
    """Gives out sequences and counts cells.

    Args:
        cells: The model.
        clock: Monotonic time in seconds.
        spare: Keep one sequence back for ``hot``, which without it can lend none, and for parking.
        max_parked_tokens: The most tokens that lie parked; 0 parks none, as without a spare sequence.

    Attributes:
        used: Cells that are held by somebody.
        evicted: Tokens that were evicted so far.
    """

    def __init__(
        self,
        cells: Cells,
        clock: Callable[[], float] = time.monotonic,
        *,
        spare: bool = False,
        max_parked_tokens: int = 0,
    ) -> None:
        self._cells = cells
        self._clock = clock
        self._free = list(reversed(range(cells.sequences)))
        self._spare = self._free.pop(0) if spare else None
        self._roots: dict[str, Node] = {}
        self._cached: dict[int, Node] = {}
        self._running: set[int] = set()
        self._parked = ParkedPrefixes(cells, self._spare, max_parked_tokens)
        self.used = 0
        self.evicted = 0

    @property
    def free_cells(self) -> int:
        """Cells that nobody holds."""
        return self._cells.kv_tokens - self.used

    @property
    def parked_tokens(self) -> int:
        """Tokens whose cells lie copied in memory."""
        return self._parked.tokens

    @property
    def cached_prefixes(self) -> int:
        """Sequences that are kept for others to begin with."""
        return len(self._cached)

    def known(self, tokens: list[int], domain: str | None) -> int:
        """How many of these tokens a new sequence would not have to compute."""
        if domain is None or domain not in self._roots:
            return 0
        length = find(self._roots[domain], tokens[:-1])[1]
        return length if length >= MIN_SHARED_TOKENS else 0

    def begin(self, tokens: list[int], domain: str | None) -> Held | None:
        """Start a sequence with what is known of its tokens; never all: the last one's logits are wanted.

        Args:
            tokens: All tokens of the prompt.
            domain: Whose prefixes it may share and become; None for neither.

        Returns:
            None when there is no sequence left, even after evicting.
        """
        if not self._cells.shares:
            domain = None
        if not self._free and not self._evict_sequence():
            return None
        node, length = self._match(tokens, domain)
        parked: list[Node] = []
        while node.parked is not None and node.parent is not None:
            parked.append(node)
            node = node.parent
        number = self._free.pop()
        if node.end:
            self._cells.share(self._holder(node), number, 0, node.end)
        node.ends.add(number)
        self._running.add(number)
        held = Held(number, domain, node)
        while parked and self._thaw(held, parked.pop(), length):
            pass
        for each in held.node.up():
            each.hits += 1
            each.used = self._clock()
        return held

    def begin_empty(self, domain: str) -> Held | None:
        """Start a sequence with nothing of what is known, whose tokens others may share later."""
        if not self._free and not self._evict_sequence():
            return None
        number = self._free.pop()
        root = self._root(domain)
        root.ends.add(number)
        self._running.add(number)
        return Held(number, domain, root)

    def hot(self, min_hits: int, min_tokens: int) -> Iterator[tuple[str, list[int], Lend]]:
        """Prefixes that many requests began with: (domain, tokens, a way to get a sequence of just those).

        Of prefixes of each other the longest that is hot comes only.
        """
        for domain, root in list(self._roots.items()):
            stack = [root]
            while stack:
                node = stack.pop()
                hotter = [child for child in node.children.values() if child.hits >= min_hits]
                stack += [child for child in hotter if child.parked is None]
                if node.parent is not None and not hotter and node.end >= min_tokens:
                    yield domain, node.path(), functools.partial(self._lend, node)

    @contextlib.contextmanager
    def _lend(self, node: Node, start: int, end: int) -> Iterator[int | None]:
        """A sequence that holds cells of a node and of those above it, for as long as it is needed."""
        source = node.holder()
        if source is None or self._spare is None:
            yield None
            return
        self._cells.share(source, self._spare, start, min(end, node.end))
        try:
            yield self._spare
        finally:
            self._cells.cut(self._spare, 0)

    def _root(self, domain: str) -> Node:
        root = self._roots.get(domain)
        if root is None:
            self._roots = {name: root for name, root in self._roots.items() if root.children or root.ends}
            root = self._roots[domain] = Node([], 0, None, 0.0)
        return root

    def _match(self, tokens: list[int], domain: str | None) -> tuple[Node, int]:
        """Where in the tree these tokens are known up to, and how many; a parked node may know more."""
        if domain is None:
            return Node([], 0, None, 0.0), 0
        root = self._root(domain)
        node, length = find(root, tokens[:-1])
        if length < MIN_SHARED_TOKENS:
            return root, 0
        whole = node.end == length or node.parked is not None
        return node if whole else node.split(length - node.start), length

    def _holder(self, node: Node) -> int:
        source = node.holder()
        if source is None:
            raise RuntimeError("a node of the prefix tree has no holder")
        return source

    def grow(self, held: Held, tokens: int) -> None:
        """Count cells that the next step will fill (or, with a negative number, has not filled)."""
        held.own += tokens
        held.length += tokens
        self.used += tokens

    def fill(self, held: Held, state: memoryview, end: int) -> bool:
        """Have a copy's cells follow those of a sequence, up to a position; False when that does not work."""
        copy = Parked(held.length, end, state)
        if self._spare is None or not self._parked.copy_back(copy, held.number, held.length, end):
            return False
        self.grow(held, end - held.length)
        return True

    def publish(self, held: Held, tokens: Sequence[int]) -> None:
        """Let others begin with a sequence's first ``len(tokens)`` tokens, which it has in the cache."""
        if held.domain is None:
            return
        while (rest := list(tokens[held.node.end :])) and held.own > 0:
            child = held.node.children.get(rest[0])
            if child is None:
                self._attach(held, rest)
                return
            # Somebody else computed the same: hold those cells, and give ours back.
            common = common_length(child.tokens, rest)
            parked = child.parked is not None
            target = child if common == len(child.tokens) else child.split(common)
            held.own -= common
            if parked:  # our cells take the place of the copy
                self._parked.drop_copy(target)
            else:
                self._cells.share(self._holder(target), held.number, target.start, target.end)
                self.used -= common
            self._move(held, target)

    def _attach(self, held: Held, rest: list[int]) -> None:
        node = held.node
        held.own -= len(rest)  # they stay used, now as the tree's
        if node.parent is not None and not node.children and node.ends == {held.number} and not node.hits:
            node.tokens += rest  # a prompt that is being read, chunk after chunk
            return
        child = node.add(rest, self._clock())
        self._move(held, child)
        for number in [number for number in node.ends if number in self._cached]:
            self._drop(number)  # what goes on beneath it holds its cells too

    def _move(self, held: Held, node: Node) -> None:
        held.node.ends.discard(held.number)
        node.ends.add(held.number)
        node.used = self._clock()
        held.node = node

    def finish(self, held: Held, tokens: Sequence[int] | None) -> None:
        """End a running sequence.

        Args:
            held: The sequence; not to be used again.
            tokens: All that it has in the cache, to be kept for others; None keeps only what is published.
        """
        if tokens is not None:
            self.publish(held, tokens)
        self._running.remove(held.number)
        self.used -= held.own
        node = held.node
        if node.parent is None or not node.edge or len(node.ends) > 1:
            self._cells.cut(held.number, 0)
            node.ends.discard(held.number)
            self._free.append(held.number)
            return
        if held.own:
            self._cells.cut(held.number, node.end)
        node.used = self._clock()
        self._cached[held.number] = node

    def make_room(self, cells: int) -> bool:
        """Evict the least valuable prefixes until so many cells are free; False when that is impossible."""
        while self.free_cells < cells:
            leaf = self._least_valuable()
            if leaf is None:
                return False
            self._give_up(leaf, max(cells - self.free_cells, MIN_EVICTED_TOKENS))
        return True

    @property
    def parks_later(self) -> bool:
        """Whether there are prefixes in the cache that ``park_idle`` takes sooner or later."""
        return self._parked.piece_tokens > 0 and any(True for _ in self._idle())

    def park_idle(self) -> None:
        """Park one prefix, or a piece of it, that nobody uses now."""
        if not self._parked.piece_tokens:
            return
        since = self._clock() - PARK_AFTER_S
        idle = (node for node in self._idle() if node.used <= since)
        leaf = min(idle, key=lambda node: node.used, default=None)
        if leaf is not None:
            self._give_up(leaf, len(leaf.tokens))

    def _idle(self) -> Iterator[Node]:
        """Nodes whose cells somebody holds, but nobody who runs, and beneath which are none such."""
        return (node for node in self._cached.values() if node.edge and not node.ends & self._running)

    def _evict_sequence(self) -> bool:
        while not self._free:
            leaf = self._least_valuable()
            if leaf is None:
                return False
            self._give_up(leaf, len(leaf.tokens))
        return True

    def _least_valuable(self) -> Node | None:
        """The leaf whose cells are worth least: what it costs to compute one again, times how likely that is.

        The cost of one token grows a little with its place, since it looks at all before it.
        """
        return min(self._idle(), key=self._value, default=None)

    def _value(self, node: Node) -> float:
        cost = 1.0 + node.end / self._cells.kv_tokens
        return float(cost * (1 + node.hits) * 0.5 ** ((self._clock() - node.used) / HALF_LIFE_S))

    def _give_up(self, leaf: Node, tokens: int) -> None:
        """Take the cells of the last tokens of a leaf, or of the whole leaf; a copy may stay."""
        piece = self._parked.piece_tokens
        tokens = min(tokens, len(leaf.tokens), piece or len(leaf.tokens))
        if tokens < len(leaf.tokens):
            leaf.split(len(leaf.tokens) - tokens)
        if piece:
            self._parked.put(leaf, self._holder(leaf))
        self.used -= tokens
        self._retreat(leaf)
        if not piece:
            self._remove(leaf)
        while (worst := self._parked.overflow(self._value)) is not None:
            self._parked.drop_copy(worst)
            self._remove(worst)

    def _remove(self, leaf: Node) -> None:
        self.evicted += len(leaf.tokens)
        leaf.remove()

    def _retreat(self, leaf: Node) -> None:
        """Let the one cached sequence that ends in a leaf go, or end where the leaf's parent does."""
        number = next(iter(leaf.ends))  # a leaf keeps one cached sequence only, see ``finish``
        parent = leaf.parent
        others = parent is None or any(
            child is not leaf and child.parked is None for child in parent.children.values()
        )
        if parent is None or parent.parent is None or others or parent.ends:
            self._drop(number)
            return
        leaf.ends.discard(number)
        parent.ends.add(number)
        self._cached[number] = parent
        self._cells.cut(number, parent.end)

    def _thaw(self, held: Held, node: Node, length: int) -> bool:
        """Have a parked node's cells again, as far as ``length``; False when that does not work.

        Args:
            held: A sequence that ends at the node's parent; afterwards at the node.
            node: The node; what is parked beneath it stays so.
            length: How many tokens are wanted in all.
        """
        copy = node.parked
        if copy is None:  # it was pushed out meanwhile
            return False
        if not self._parked.hold(node, lambda: self.make_room(copy.end - copy.start)):
            return False
        taken = self._parked.take(node, held.number, min(length, node.end))
        if taken is None:
            for lost in list(node.down()):
                self._parked.drop_copy(lost)
                self._remove(lost)
            return False
        self.used += len(taken.tokens)
        self._move(held, taken)
        held.length = taken.end
        return True

    def _drop(self, number: int) -> None:
        """Free a cached sequence whose cells others hold, or which are gone."""
        node = self._cached.pop(number)
        node.ends.discard(number)
        self._cells.cut(number, 0)
        self._free.append(number)
