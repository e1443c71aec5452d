"""The counting of cells and the sharing of prefixes, against a cache with llama.cpp's rules."""

import random

import pytest

from skerry_agent.runtime.kv_cache import Held, KvCache
from skerry_agent.runtime.prefix_tree import Node, common_length, find
from support.scripted_model import ScriptedModel


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class _Cache:
    """A cache with its model: sequences are filled as the engine fills them."""

    def __init__(self, cells: int = 200, sequences: int = 8, *, shares: bool = True, parked: int = 0) -> None:
        self.model = ScriptedModel(cells=cells, sequences=sequences, context=200, shares=shares)
        self.clock = _Clock()
        self.kv = KvCache(self.model, self.clock, spare=parked > 0, max_parked_tokens=parked)

    def park_all(self) -> None:
        """Let time pass in which others run."""
        self.clock.now += 10
        for _ in range(50):
            self.kv.park_idle()
        self.check()

    def begin(self, text: str, domain: str | None = "") -> Held:
        held = self.kv.begin(list(text.encode()), domain)
        assert held is not None
        return held

    def fill(self, held: Held, text: str, *, publish: bool = True) -> None:
        """Compute the rest of a text."""
        tokens = list(text.encode())
        for position in range(held.length, len(tokens)):
            self.model.cells.append({held.number: (position, tokens[position])})
        self.kv.grow(held, len(tokens) - held.length)
        if publish:
            self.kv.publish(held, tokens)
        assert bytes(self.model.text_of(held.number)) == text.encode()
        assert held.length == held.node.end + held.own == len(text)

    def run(self, text: str, domain: str | None = "") -> int:
        """A whole request; returns how many tokens were there already."""
        held = self.begin(text, domain)
        cached = held.length
        self.fill(held, text)
        self.kv.finish(held, list(text.encode()))
        self.check()
        return cached

    def check(self) -> None:
        assert self.kv.used == len(self.model.cells)


def test_what_two_prompts_begin_with_is_held_once() -> None:
    cache = _Cache()
    assert cache.run("a common prefix, then one") == 0
    assert cache.run("a common prefix, then two") == len("a common prefix, then ")
    assert cache.kv.used == len("a common prefix, then onetwo")
    assert cache.kv.cached_prefixes == 2


def test_the_last_token_is_always_computed() -> None:
    cache = _Cache()
    cache.run("the very same prompt")
    assert cache.run("the very same prompt") == len("the very same prompt") - 1
    assert cache.kv.cached_prefixes == 1


def test_a_short_common_beginning_is_not_shared() -> None:
    cache = _Cache()
    cache.run("short: one")
    assert cache.run("short: two") == 0
    assert cache.kv.used == len("short: oneshort: two") - len("short: ")


def test_a_running_prompt_is_shared_as_far_as_it_is_read() -> None:
    cache = _Cache()
    first = cache.begin("a long common prefix and one")
    cache.fill(first, "a long common pre")
    second = cache.begin("a long common prefix and two")
    assert second.length == len("a long common pre")
    cache.fill(first, "a long common prefix and one")
    cache.fill(second, "a long common prefix and two")
    cache.check()
    assert cache.kv.used == len("a long common prefix and onetwo")
    cache.kv.finish(first, None)
    cache.kv.finish(second, None)
    cache.check()


def test_clients_do_not_see_each_others_prefixes() -> None:
    cache = _Cache()
    cache.run("a secret prefix", "one")
    assert cache.kv.known(list(b"a secret prefix"), "other") == 0
    assert cache.run("a secret prefix", "other") == 0
    assert cache.run("a secret prefix", None) == 0
    assert cache.kv.known(list(b"a secret prefix"), "one") > 0


def test_a_request_that_shares_nothing_leaves_nothing() -> None:
    cache = _Cache()
    cache.run("a lonely prefix", None)
    assert (cache.kv.used, cache.kv.cached_prefixes) == (0, 0)


def test_a_model_that_cannot_share_is_not_asked_to() -> None:
    cache = _Cache(shares=False)
    cache.run("a common prefix, one")
    assert cache.run("a common prefix, two") == 0
    assert cache.kv.used == 0


def test_the_least_used_prefix_makes_room_first() -> None:
    cache = _Cache(cells=100)
    cache.run("A" * 40)
    cache.clock.now += 1
    cache.run("B" * 40)
    cache.clock.now += 1
    assert cache.run("A" * 40) == 39
    assert cache.kv.make_room(50)
    cache.check()
    assert cache.kv.known([*b"B" * 41], "") == 0
    assert cache.kv.known([*b"A" * 41], "") == 40


def test_an_old_favourite_gives_way_at_last() -> None:
    cache = _Cache(cells=100)
    for _ in range(4):
        cache.run("A" * 40)
    cache.clock.now += 86_400
    cache.run("B" * 40)
    assert cache.kv.make_room(50)
    assert cache.kv.known([*b"A" * 41], "") == 0
    assert cache.kv.known([*b"B" * 41], "") == 40


def test_room_is_made_from_the_end_of_a_prefix() -> None:
    cache = _Cache(cells=200, sequences=2)
    cache.run("A" * 190)
    assert cache.kv.make_room(20)
    assert cache.kv.known([*b"A" * 191], "") == 190 - 64
    cache.check()


def test_what_runs_is_never_evicted() -> None:
    cache = _Cache(cells=60)
    held = cache.begin("A" * 40)
    cache.fill(held, "A" * 40)
    assert not cache.kv.make_room(30)
    assert cache.kv.make_room(20)
    assert held.length == 40
    cache.check()


def test_sequences_run_out_and_are_taken_from_prefixes() -> None:
    cache = _Cache(sequences=3)
    for letter in "ABCDE":
        cache.run(letter * 20)
    assert cache.kv.cached_prefixes <= 3
    running = [cache.begin(letter * 20) for letter in "XYZ"]
    assert cache.kv.begin([1, 2, 3], "") is None
    for held in running:
        cache.kv.finish(held, None)
    cache.check()


def test_equal_tokens_that_two_computed_at_the_same_time_are_merged() -> None:
    cache = _Cache()
    first, second = cache.begin("exactly the same"), cache.begin("exactly the same")
    cache.fill(first, "exactly the same", publish=False)
    cache.fill(second, "exactly the same", publish=False)
    assert cache.kv.used == 32
    for held in (first, second):
        cache.kv.finish(held, [*b"exactly the same"])
    cache.check()
    assert (cache.kv.used, cache.kv.cached_prefixes) == (16, 1)


def test_what_nobody_uses_is_parked_and_comes_back() -> None:
    cache = _Cache(parked=100)
    cache.run("a common prefix, then one")
    cache.run("a common prefix, then two")
    cache.park_all()
    assert (cache.kv.used, cache.kv.parked_tokens) == (0, len("a common prefix, then onetwo"))
    assert cache.run("a common prefix, then one more") == len("a common prefix, then one")
    assert cache.kv.parked_tokens == len("two")
    assert cache.run("a common prefix, then two more") == len("a common prefix, then two")
    assert cache.kv.evicted == 0


def test_a_part_of_what_is_parked_comes_back_alone() -> None:
    cache = _Cache(parked=100)
    cache.run("the same beginning and one end")
    cache.park_all()
    assert cache.run("the same beginning, another end") == len("the same beginning")
    cache.park_all()
    assert cache.run("the same beginning and one end!") == len("the same beginning and one end")


def test_what_runs_is_not_parked() -> None:
    cache = _Cache(parked=100)
    cache.run("a common prefix, then one")
    held = cache.begin("a common prefix, then two")
    cache.fill(held, "a common prefix, then two")
    cache.park_all()
    assert cache.kv.parked_tokens == len("one")
    assert bytes(cache.model.text_of(held.number)) == b"a common prefix, then two"


def test_a_long_prefix_is_parked_in_pieces() -> None:
    cache = _Cache(parked=150)
    cache.model.max_saved_tokens = 40
    cache.run("0123456789" * 10)
    cache.clock.now += 10
    cache.kv.park_idle()
    assert (cache.kv.used, cache.kv.parked_tokens) == (60, 40)
    cache.park_all()
    assert (cache.kv.used, cache.kv.parked_tokens) == (0, 100)
    assert cache.run("0123456789" * 10 + "!") == 100


def test_what_is_parked_is_bounded_and_the_least_valuable_goes() -> None:
    cache = _Cache(parked=50)
    cache.run("A" * 40)
    cache.run("A" * 40)
    cache.park_all()
    cache.run("B" * 40)
    cache.park_all()
    assert cache.kv.parked_tokens == 39
    assert cache.kv.evicted == 41  # B's, and the last of A's, which nobody began with
    assert cache.run("A" * 40) == 39


def test_room_is_made_by_parking() -> None:
    cache = _Cache(cells=100, parked=100)
    cache.run("A" * 90)
    assert cache.kv.make_room(60)
    assert cache.kv.evicted == 0
    assert cache.kv.known([*b"A" * 91], "") == 90
    cache.check()


def test_a_copy_that_the_model_does_not_take_is_forgotten() -> None:
    cache = _Cache(parked=100)
    cache.run("a common prefix, then one")
    cache.park_all()
    cache.model.load_state = lambda *_: False  # type: ignore[method-assign]
    assert cache.run("a common prefix, then two") == 0
    assert cache.kv.parked_tokens == 0


@pytest.mark.parametrize("parked", [0, 60, 400])
@pytest.mark.parametrize("seed", range(25))
def test_any_order_of_requests_keeps_the_books_and_the_texts(seed: int, parked: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test has to be repeatable
    cache = _Cache(cells=160, sequences=6, parked=parked)
    running: dict[int, tuple[Held, str]] = {}
    for _ in range(300):
        cache.clock.now += rng.random() * 100
        action = rng.random()
        if action < 0.35:
            text = "".join(rng.choice(["AAAAAAAA", "BBBB", "C", "DD"]) for _ in range(rng.randrange(1, 8)))
            held = cache.kv.begin([*text.encode()], rng.choice(["", "", "x", None]))
            if held is not None:
                assert held.length < len(text)
                running[held.number] = (held, text)
        elif running and action < 0.75:
            held, text = running[rng.choice(list(running))]
            end = min(len(text), held.length + rng.randrange(1, 12))
            if end > held.length and cache.kv.make_room(end - held.length):
                cache.fill(held, text[:end], publish=rng.random() < 0.7)
        elif action < 0.85:
            cache.kv.park_idle()
        elif running:
            held, text = running.pop(rng.choice(list(running)))
            keep = [*text.encode()][: held.length]
            cache.kv.finish(held, keep if rng.random() < 0.7 else None)
        cache.check()
        for held, text in running.values():
            assert bytes(cache.model.text_of(held.number)) == text.encode()[: held.length]
    for held, _ in running.values():
        cache.kv.finish(held, None)
    assert cache.kv.make_room(160)
    assert cache.model.cells == []


def test_common_lengths_are_found_by_halving() -> None:
    rng = random.Random(1)  # noqa: S311 - the same
    for _ in range(300):
        first = [rng.randrange(2) for _ in range(rng.randrange(9))]
        second = [rng.randrange(2) for _ in range(rng.randrange(9))]
        expected = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
            min(len(first), len(second)),
        )
        assert common_length(first, second) == expected
        assert common_length(first, [7, *second], 1) == expected


def test_a_tree_finds_the_longest_beginning() -> None:
    root = Node([], 0, None, 0.0)
    child = root.add([1, 2, 3], 0.0)
    child.add([4, 5], 0.0)
    assert find(root, [1, 2, 3, 4, 9])[1] == 4
    assert find(root, [1, 9])[1] == 1
    assert find(root, [9]) == (root, 0)
    upper = child.split(2)
    assert (upper.tokens, child.tokens, child.start, child.path()) == ([1, 2], [3], 2, [1, 2, 3])
    with pytest.raises(ValueError, match="inside its run"):
        upper.split(2)
    with pytest.raises(ValueError, match="only a leaf"):
        upper.remove()
