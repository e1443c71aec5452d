"""Decides which prefixes are worth saving, and moves them between the model's cache and the disk."""

import functools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.runtime.kv_cache import KvCache
from skerry_agent.runtime.prefix_domain import client_of
from skerry_agent.runtime.prefix_store import Head, PrefixStore

MAX_REMEMBERED = 256


class States(Protocol):
    """The part of the model that is used here.

    Attributes:
        max_saved_tokens: Of a longer run llama.cpp's state is not whole: it is saved in pieces.
    """

    kv_tokens: int
    context_tokens: int
    vocabulary: int
    max_saved_tokens: int

    def save_state(self, sequence: int) -> bytearray:
        """What llama.cpp holds of a sequence."""


@dataclass(frozen=True, slots=True)
class SaverLimits:
    """What is worth saving.

    Attributes:
        min_hits: So many other requests have to have begun with a prefix.
        min_tokens: A shorter one is computed as fast as it is read.
        busy_interval_s: How often an engine that never rests looks for prefixes to save.
        restore_share: The most that restored prefixes take of the cache's cells.
    """

    min_hits: int = 3
    min_tokens: int = 64
    restore_share: float = 0.5
    busy_interval_s: float = 60.0


class PrefixSaver:
    """Belongs to the engine's thread; only the writing is done by another.

    Args:
        store: The disk.
        states: The model.
        kv: Its cache.
        all_clients: Whether prefixes are shared by all (then those of single clients are of no use).
        limits: What is worth saving.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        store: PrefixStore,
        states: States,
        kv: KvCache,
        *,
        all_clients: bool,
        limits: SaverLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._states = states
        self._kv = kv
        self._all_clients = all_clients
        self._limits = limits or SaverLimits()
        self._clock = clock
        self._due = clock() + self._limits.busy_interval_s
        self._settled: dict[bytes, None] = {}
        self._writer: threading.Thread | None = None
        self.restored_tokens = 0

    def restore(self) -> None:
        """Fill the cache with what is saved, the last used first. Before the first request."""
        room = int(self._states.kv_tokens * self._limits.restore_share)

        def take(head: Head, state: memoryview) -> bool:
            length = len(head.tokens)
            if self._all_clients and client_of(head.domain):
                return True
            usable = 0 <= head.start < length < self._states.context_tokens
            if not usable or not all(0 <= token < self._states.vocabulary for token in head.tokens):
                self._store.forget(head)
                return True
            if self.restored_tokens + length - head.start > room:
                return False
            return self._take(head, state)

        self._quietly(lambda: self._store.restore(take))

    def _take(self, head: Head, state: memoryview) -> bool:
        """Restore one; False when the cache has no sequence left for it."""
        before = head.tokens[: head.start + 1]  # of which the last is not looked for
        held = self._kv.begin(before, head.domain) if head.start else self._kv.begin_empty(head.domain)
        if held is None:
            return False
        kept = None
        if held.length == head.start:  # else what it continues is not there
            if self._kv.fill(held, state, len(head.tokens)):
                kept = head.tokens
                self.restored_tokens += len(head.tokens) - head.start
            else:
                self._store.forget(head)
        self._kv.finish(held, kept)
        return True

    def look(self, *, busy: bool) -> None:
        """Save one prefix that has become worth it, if any: when nobody waits for the engine, or at times.

        Args:
            busy: Whether somebody waits: then it looks once a while only, as it takes some milliseconds.
        """
        now = self._clock()
        if (busy and now < self._due) or (self._writer is not None and self._writer.is_alive()):
            return
        self._due = now + self._limits.busy_interval_s
        for domain, tokens, lend in self._kv.hot(self._limits.min_hits, self._limits.min_tokens):
            states: list[tuple[Head, bytearray]] = []
            for head in self._unsaved(domain, tokens):
                with lend(head.start, len(head.tokens)) as sequence:
                    if sequence is not None:
                        states.append((head, self._states.save_state(sequence)))
            if states:
                self._write(states)
                return

    def _unsaved(self, domain: str, tokens: list[int]) -> list[Head]:
        """Pieces of a prefix that are on no disk yet, the last first: the newest file is restored first."""
        piece = self._states.max_saved_tokens
        heads = [Head(domain, tokens[: start + piece], start) for start in range(0, len(tokens), piece)]
        found: list[Head] = []
        for head in reversed(heads):
            name, short = _name(head), len(head.tokens) - head.start < self._limits.min_tokens
            if short or name in self._settled:
                continue
            self._settle(name)
            if self._store.has(head):
                self._quietly(functools.partial(self._store.used, head))
            else:
                found.append(head)
        return found

    def _write(self, states: list[tuple[Head, bytearray]]) -> None:
        def save() -> None:
            for head, state in states:
                self._store.save(head, state)

        work = (save,)
        self._writer = threading.Thread(target=self._quietly, args=work, name="prefix-writer", daemon=True)
        self._writer.start()

    def _settle(self, name: bytes) -> None:
        self._settled[name] = None
        while len(self._settled) > MAX_REMEMBERED:
            del self._settled[next(iter(self._settled))]

    def _quietly(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            sys.stderr.write(f"saved prefixes: {type(error).__name__} ({error.strerror})\n")


def _name(head: Head) -> bytes:
    return b"%d %s %d" % (hash(tuple(head.tokens)), head.domain.encode(), len(head.tokens))
