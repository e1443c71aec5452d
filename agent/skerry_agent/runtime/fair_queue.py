"""Who gets the next free place: the client that holds fewest, and of those the one that got fewest lately.

Turns are counted on a virtual clock (start-time fair queueing): a client that was away begins at the present
turn, and has no credit for the time before. Pure; not safe for use by two threads.
"""

import itertools
from collections import Counter, deque
from typing import Generic, Protocol, TypeVar

MAX_REMEMBERED = 1024


class Waiting(Protocol):
    """What can wait."""

    @property
    def client(self) -> str:
        """Whose share it counts towards."""

    @property
    def expires(self) -> float:
        """When it is given up, on the clock of ``expired``."""


T = TypeVar("T", bound=Waiting)


class FairQueue(Generic[T]):
    """Requests in order of their arrival, by client."""

    def __init__(self) -> None:
        self._clients: dict[str, deque[tuple[int, T]]] = {}
        self._arrivals = itertools.count()
        self._turns: dict[str, int] = {}
        self._turn = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, item: T) -> None:
        """Add one at the end of its client's line."""
        if item.client not in self._clients:
            self._clients[item.client] = deque()
            self._forget()
            self._turns[item.client] = max(self._turns.get(item.client, 0), self._turn)
        self._clients[item.client].append((next(self._arrivals), item))
        self._length += 1

    def take(self, held: Counter[str]) -> T | None:
        """The next one.

        Args:
            held: How many places each client has now.
        """
        if not self._clients:
            return None
        client = min(self._clients, key=lambda c: (held[c], self._turns[c], self._clients[c][0][0]))
        self._turn = max(self._turn, self._turns[client])
        self._turns[client] += 1
        line = self._clients[client]
        _, item = line.popleft()
        self._length -= 1
        if not line:
            del self._clients[client]
        return item

    def _forget(self) -> None:
        """Past turns matter only among those who wait at the same time."""
        if not self._length:
            self._turn = 0
            self._turns.clear()
        elif len(self._turns) > MAX_REMEMBERED:
            self._turns = {name: turn for name, turn in self._turns.items() if name in self._clients}

    def remove(self, item: T) -> bool:
        """Take one out wherever it stands; False when it does not wait here."""
        line = self._clients.get(item.client, deque())
        for entry in line:
            if entry[1] is item:
                line.remove(entry)
                self._length -= 1
                if not line:
                    del self._clients[item.client]
                return True
        return False

    def expired(self, now: float) -> list[T]:
        """Take out those whose deadline has passed."""
        late = [item for line in self._clients.values() for _, item in line if item.expires <= now]
        for item in late:
            self.remove(item)
        return late

    def clear(self) -> list[T]:
        """Take out all."""
        items = [item for line in self._clients.values() for _, item in line]
        self._clients.clear()
        self._length = 0
        return items
