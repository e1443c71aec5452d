from collections import Counter
from dataclasses import dataclass

from skerry_agent.runtime.fair_queue import FairQueue

NOBODY: Counter[str] = Counter()


@dataclass(eq=False)
class _Item:
    client: str
    name: str
    expires: float = float("inf")


def _queue(*items: str) -> FairQueue[_Item]:
    queue: FairQueue[_Item] = FairQueue()
    for item in items:
        queue.put(_Item(item[0], item))
    return queue


def _taken(queue: FairQueue[_Item], held: Counter[str] = NOBODY) -> list[str]:
    names = []
    while (item := queue.take(held)) is not None:
        names.append(item.name)
    return names


def test_one_client_is_served_in_order() -> None:
    assert _taken(_queue("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_clients_take_turns_however_many_each_has() -> None:
    assert _taken(_queue("a1", "a2", "a3", "a4", "b1", "c1")) == ["a1", "b1", "c1", "a2", "a3", "a4"]


def test_who_holds_fewer_places_comes_first() -> None:
    assert _taken(_queue("a1", "b1"), Counter(a=3, b=1)) == ["b1", "a1"]


def test_a_client_that_was_away_has_no_credit() -> None:
    queue = _queue(*(f"a{i}" for i in range(100)))
    for _ in range(50):
        queue.take(NOBODY)
    for name in ("b1", "b2", "b3"):
        queue.put(_Item("b", name))
    assert _taken(queue)[:6] == ["b1", "a50", "b2", "a51", "b3", "a52"]


def test_a_client_that_comes_back_has_no_credit_either() -> None:
    queue = _queue("b0", *(f"a{i}" for i in range(100)))
    for _ in range(51):
        queue.take(NOBODY)
    for name in ("b1", "b2", "b3"):
        queue.put(_Item("b", name))
    assert _taken(queue)[:4] == ["b1", "a50", "b2", "a51"]


def test_one_can_be_taken_out() -> None:
    queue = _queue("a1", "b1")
    gone = _Item("a", "a2")
    queue.put(gone)
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert len(queue) == 2
    assert _taken(queue) == ["a1", "b1"]


def test_those_whose_time_is_up_are_taken_out() -> None:
    queue = _queue("a1")
    queue.put(_Item("a", "a2", expires=5.0))
    assert queue.expired(4.9) == []
    assert [item.name for item in queue.expired(5.0)] == ["a2"]
    assert _taken(queue) == ["a1"]


def test_many_clients_leave_nothing_behind() -> None:
    queue = _queue()
    for number in range(1000):
        queue.put(_Item(str(number), "x"))
        assert queue.take(NOBODY) is not None
    assert len(queue._turns) <= 2
