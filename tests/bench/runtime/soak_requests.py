"""The soak's requests: what each asks, and what may come back."""

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from bench.runtime.http_stream import Answer
from bench.runtime.prompts import WORDS

Outcome = Literal[
    "right", "rounded otherwise", "rejected", "cut by a kill", "refused", "unsupported", "abandoned",
    "wrong", "torn", "hung", "unexpected",
]  # fmt: skip
PROBLEMS: tuple[Outcome, ...] = ("wrong", "torn", "hung", "unexpected")
MARKED_TOKENS = 40
REPEATS = 8


@dataclass(frozen=True)
class Request:
    """One request of the soak.

    Attributes:
        kind: For the report.
        path: Of the URL.
        body: What is sent.
        judge: What a complete answer of status 200 is.
        rejected_with: Statuses that are right for a bad request; none for a good one.
        abandon_after_s: Go away after this time.
    """

    kind: str
    path: str
    body: bytes
    judge: Callable[[Answer], Outcome]
    rejected_with: tuple[int, ...] = ()
    abandon_after_s: float | None = None


def markers(count: int) -> list[str]:
    """Pairs of words; no word is in two of them."""
    words = random.Random("markers").sample(WORDS, 2 * count)  # noqa: S311 - prompts, not secrets
    return [f"{words[2 * n]} {words[2 * n + 1]}" for n in range(count)]


def marked_fields(model: str, marker: str, *, stream: bool) -> dict[str, Any]:
    """A request whose greedy answer goes on repeating its marker."""
    prompt = ", ".join([marker] * REPEATS) + ","
    sampling = {"max_tokens": MARKED_TOKENS, "temperature": 0.0, "seed": 1}
    return {"model": model, "prompt": prompt, "stream": stream, **sampling}


class RequestMaker:
    """Makes random requests.

    Args:
        model: Its name at the server.
        solo: The greedy answer to each marker's prompt, asked alone.
    """

    def __init__(self, model: str, solo: dict[str, str]) -> None:
        self._model = model
        self._solo = solo
        self._makers: list[tuple[int, Callable[[random.Random], Request]]] = [
            (40, self.plain), (15, self.leaving), (15, self.stopped), (10, self.shaped), (20, self.bad),
        ]  # fmt: skip

    def any(self, rng: random.Random) -> Request:
        """One of any kind."""
        weights = [weight for weight, _ in self._makers]
        return rng.choices([make for _, make in self._makers], weights)[0](rng)

    def plain(self, rng: random.Random) -> Request:
        """A good request."""
        marker = rng.choice(list(self._solo))
        fields = marked_fields(self._model, marker, stream=rng.random() < 0.7)
        return _text_request(
            "plain", fields, lambda answer: self._judge(answer.text, marker, self._solo[marker])
        )

    def leaving(self, rng: random.Random) -> Request:
        """A good request whose client goes away: before the first token, or in the middle of the answer."""
        request = self.plain(rng)
        return dataclasses.replace(request, kind="leaving", abandon_after_s=rng.uniform(0.005, 0.6))

    def stopped(self, rng: random.Random) -> Request:
        """A request with a stop string."""
        marker = rng.choice(list(self._solo))
        stop = marker.split()[1]
        fields = {**marked_fields(self._model, marker, stream=rng.random() < 0.7), "stop": [stop, "\u2603"]}
        expected = self._solo[marker].partition(stop)[0]

        def judge(answer: Answer) -> Outcome:
            if answer.text == expected:
                return "right"
            return "wrong" if stop in answer.text else self._judge(answer.text + stop, marker, "")

        return _text_request("stop", fields, judge)

    def shaped(self, rng: random.Random) -> Request:
        """A request whose schema allows one answer alone."""
        marker = rng.choice(list(self._solo))
        schema = {
            "type": "object", "properties": {"word": {"enum": [marker]}},
            "required": ["word"], "additionalProperties": False,
        }  # fmt: skip
        fields = {**marked_fields(self._model, marker, stream=rng.random() < 0.5), "json_schema": schema}

        def judge(answer: Answer) -> Outcome:
            try:
                return "right" if msgspec.json.decode(answer.text) == {"word": marker} else "wrong"
            except msgspec.DecodeError:
                # Any amount of white space is good JSON: it may have reached the limit.
                foreign = self._judge(answer.text, marker, answer.text)
                return foreign if answer.finish == "length" else "wrong"

        return _text_request("schema", fields, judge)

    def bad(self, rng: random.Random) -> Request:
        """A request that has to be refused."""
        good = marked_fields(self._model, next(iter(self._solo)), stream=rng.random() < 0.5)
        name = msgspec.json.encode(self._model)
        bodies: dict[str, tuple[bytes, tuple[int, ...]]] = {
            "NaN": (b'{"model":%b,"prompt":"x","temperature":NaN}' % name, (400, 422)),
            "wrong type": (_json({**good, "max_tokens": "many"}), (400, 422)),
            "unknown model": (_json({**good, "model": "nobody"}), (404,)),
            "beyond the context": (_json({**good, "prompt": "word " * 5000}), (400,)),
            "invalid UTF-8": (b'{"model":%b,"prompt":"\xff\xfe"}' % name, (400, 422)),
            "impossible schema": (_json({**good, "json_schema": {"$ref": "#/nowhere"}}), (400, 422)),
            # The connection may be closed before all of it was sent, and the answer be lost.
            "10 MB": (_json({**good, "prompt": "x" * 10_000_000}), (413, 0)),
            "10,000 stops": (_json({**good, "stop": [f"s{n}" for n in range(10_000)]}), (400, 422)),
        }
        kind = rng.choice(list(bodies))
        body, statuses = bodies[kind]
        return Request(f"bad: {kind}", "/v1/completions", body, lambda _: "unexpected", statuses)

    def _judge(self, text: str, marker: str, solo: str) -> Outcome:
        if any(other in text for other in self._solo if other != marker):
            return "wrong"
        if text == solo:
            return "right"
        # Other requests in the batch change the order of additions, and so, rarely, a greedy choice.
        return "rounded otherwise" if marker in text else "wrong"


def _text_request(kind: str, fields: dict[str, Any], judge: Callable[[Answer], Outcome]) -> Request:
    return Request(kind, "/v1/completions", _json(fields), judge)


def _json(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode(fields)
