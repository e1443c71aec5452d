"""A prefix that many requests share: cold, warm, and after a restart of the daemon."""

import asyncio
import statistics
import time

from bench.runtime.http_stream import Answer
from bench.runtime.peers import SLOTS
from bench.runtime.prompts import prefix_text, question, story_prompt
from bench.runtime.scale import Turn
from bench.runtime.skerry import Skerry

WARM_RIVALS = ("llama-server",)
SAVE_SETTLE_S = 2.0
"""After this time without requests everything that is worth saving may have been saved."""


def shared_prefix(turn: Turn) -> None:
    """Eight requests at once whose prefix nobody has read yet, then eight new questions after it.

    The first eight leave the prefix in every slot of a server with slots.
    """
    prefix = _prefix(turn, "shared")
    cold = asyncio.run(_questions(turn, prefix, "cold"))
    turn.add("prefix_cold", _mean_first_token_s(cold))
    warm = asyncio.run(_questions(turn, prefix, "warm"))
    turn.add(_warm_figure(turn, warm), _mean_first_token_s(warm))
    # Where a server tells: what it read, and what it had.
    details = turn.figures.details.setdefault("prefix tokens", {})
    details[f"{turn.peer.case.name}, {turn.peer.name}, round {turn.number}"] = {
        "prompt": round(statistics.mean(answer.prompt_tokens for answer in cold)),
        "cached, cold": [answer.cached_tokens for answer in cold],
        "cached, warm": [answer.cached_tokens for answer in warm],
    }


def _warm_figure(turn: Turn, warm: list[Answer]) -> str:
    """Where a warm value belongs: a rival that did not have the prefix in every slot is not to be beaten.

    With a sliding window, llama-server reads a prompt anew that is shorter than the window. Our own agent is
    judged whatever it held: to hold it is its task.
    """
    if turn.peer.name not in WARM_RIVALS or all(a.cached_tokens > a.prompt_tokens / 2 for a in warm):
        return "prefix_warm"
    held = statistics.mean(answer.cached_tokens for answer in warm)
    prompt = statistics.mean(answer.prompt_tokens for answer in warm)
    turn.note(
        f"it held {held:.0f} of {prompt:.0f} tokens of the warm prompts: not a warm prefix, so not judged"
    )
    return "prefix_read_anew"


def after_restart(turn: Turn) -> None:
    """Eight questions after a warm prefix, a restart of the daemon, and eight others after the same prefix.

    A first short request loads the model; the time to its first token is a figure of its own.
    """
    peer = turn.peer
    if not isinstance(peer, Skerry):
        return
    prefix = _prefix(turn, "kept")
    asyncio.run(_questions(turn, prefix, "first"))
    turn.add("prefix_before_restart", _mean_first_token_s(asyncio.run(_questions(turn, prefix, "before"))))
    time.sleep(SAVE_SETTLE_S)
    peer.restart()
    loading = asyncio.run(peer.ask(story_prompt("load", turn.number), 1))
    turn.add("load_first_token", loading.first_token_s)
    turn.add("prefix_restart", _mean_first_token_s(asyncio.run(_questions(turn, prefix, "restarted"))))


def _prefix(turn: Turn, kind: str) -> str:
    return prefix_text(turn.scale.prefix_words, kind, turn.peer.case.name, turn.number)


def _mean_first_token_s(answers: list[Answer]) -> float:
    return statistics.mean(answer.first_token_s for answer in answers)


async def _questions(turn: Turn, prefix: str, kind: str) -> list[Answer]:
    prompts = [question(prefix, kind, turn.number, n) for n in range(SLOTS)]
    return await asyncio.gather(*(turn.peer.ask(p, turn.scale.answer_tokens) for p in prompts))
