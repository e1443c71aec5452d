"""What must hold after every crash and every fault. Pure: from what runs told to what is wrong."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from faults.blobs import Request
from faults.lives import Fact, Life

OLD, NEW = "smol@1", "smol@2"


def judge_serving(life: Life) -> list[str]:
    """The old or the new model serves at every moment."""
    return [
        f"at {fact['when']} nothing whole serves"
        for fact in life.of("serves")
        if fact["ref"] not in (OLD, NEW)
    ]


def judge_end(life: Life) -> list[str]:
    """The run came to its end, and the new version serves."""
    wrong = [f"died: {fact['traceback']}" for fact in life.of("died")]
    wrong += [fact["what"] for fact in life.of("wrong")]
    if life.end is None:
        return wrong or ["it ended without saying how"]
    if life.end["state"] != "committed":
        wrong.append(f"ended {life.end['state']}: {life.end['code']}: {life.end['message']}")
    elif life.of("serves")[-1]["ref"] != NEW:
        wrong.append("committed, but the new version does not serve")
    return wrong


def judge_outbox(lives: Sequence[Life]) -> list[str]:
    """What was acknowledged as stored is pending at the end, once, or was acknowledged by the controller."""
    end = lives[-1].end
    if end is None:
        return []
    told = Counter(_key(fact) for life in lives for fact in life.of("stored"))
    settled = Counter(_key(fact) for life in lives for fact in life.of("acknowledged"))
    pending = Counter(_key({"name": name, "data": data}) for name, data in end["pending"])
    wrong = [f"lost from the outbox: {key}" for key in told - settled - pending]
    wrong += [
        f"twice in the outbox: {key}" for key, n in pending.items() if key.startswith("sample") and n > 1
    ]
    if not any(
        key.startswith("update_committed") and NEW.replace("@", "/") in key for key in pending + settled
    ):
        wrong.append("nothing tells that the new version was committed")
    return wrong


def judge_fetching(kept: Iterable[tuple[str, int, int]], requests: Iterable[Request]) -> list[str]:
    """No chunk that the device had is asked for again. ``kept`` are digest, offset and length."""
    kept = list(kept)
    return [
        f"fetched again: {length} bytes at {offset}"
        for sha256, offset, length in kept
        for request in requests
        if request.sha256 == sha256 and request.first < offset + length and request.last >= offset
    ]


def judge_fault(life: Life, errno_name: str) -> list[str]:
    """A pause or a refused start says why."""
    wrong = []
    for fact in life.of("healed"):
        if fact["when"] == "end":
            continue
        if not fact.get("message"):
            wrong.append(f"{fact['when']}: no reason is given")
        elif errno_name == "ENOSPC" and fact["when"] == "pause" and fact["code"] != "no_space":
            wrong.append(f"a full disk is reported as {fact['code']}: {fact['message']}")
    return wrong


def _key(fact: Fact) -> str:
    return f"{fact['name']} {json.dumps(fact['data'], sort_keys=True)}"
