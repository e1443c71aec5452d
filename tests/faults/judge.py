"""What must hold after every crash and every fault. Pure: from what runs told to what is wrong."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from faults.blobs import Request
from faults.lives import Fact, Life
from faults.stage import Stage

_EVENTS: Final = {"committed": "update_committed", "rolled_back": "update_rolled_back"}


def judge_recovery(stage: Stage, lives: Sequence[Life]) -> list[str]:
    """The last life came to its end, and nothing was lost on the way."""
    if stage.enrolling is not None:
        return judge_enrolled(stage, lives)
    last = lives[-1]
    return judge_serving(stage, last) + judge_end(stage, last) + judge_outbox(stage, lives)


def judge_serving(stage: Stage, life: Life) -> list[str]:
    """The old or the new version serves at every moment."""
    return [
        f"at {fact['when']} nothing whole serves, or something else: {fact['ref']}"
        for fact in life.of("serves")
        if fact["ref"] not in stage.serving
    ]


def judge_end(stage: Stage, life: Life) -> list[str]:
    """The run came to the story's end, and what shall serve then serves."""
    wrong = _ended(life)
    if life.end is None:
        return wrong
    ending, end = stage.ending, life.end
    if end["state"] != ending.state or (ending.code is not None and end["code"] != ending.code):
        wrong.append(f"ended {end['state']}: {end['code']}: {end['message']}")
    elif (served := life.of("serves")[-1]["ref"]) != ending.serves:
        wrong.append(f"{ending.state}, but {served} serves")
    if not stage.healthy and end["settings"] != {"telemetry": {"flush_interval_s": 30.0}}:
        wrong.append(f"the settings before are not in force: {end['settings']}")
    return wrong


def judge_outbox(stage: Stage, lives: Sequence[Life]) -> list[str]:
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
    event = _EVENTS[stage.ending.state]
    path = json.dumps(stage.reported.path)
    if not any(key.startswith(event) and path in key for key in pending + settled):
        wrong.append(f"no {event} tells how it ended")
    return wrong


def judge_enrolled(stage: Stage, lives: Sequence[Life]) -> list[str]:
    """The device is enrolled or it is not; where it was, it is; in the end it is, and trusts the fleet."""
    last = lives[-1]
    wrong = _ended(last)
    was = stage.enrolling is not None and stage.enrolling.again
    for life in lives:
        found = [fact["device"] for fact in life.of("identity")]
        if was and None in found:
            wrong.append("the identity that it had is gone")
        was = was or life.end is not None
    if last.end is not None and not (last.end["enrolled"] and last.end["trust"] == "loaded"):
        wrong.append(f"after all, it is not enrolled: {last.end}")
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


def _ended(life: Life) -> list[str]:
    wrong = [f"died: {fact['traceback']}" for fact in life.of("died")]
    wrong += [fact["what"] for fact in life.of("wrong")]
    return wrong if life.end is not None or wrong else ["it ended without saying how"]


def _key(fact: Fact) -> str:
    return f"{fact['name']} {json.dumps(fact['data'], sort_keys=True)}"
