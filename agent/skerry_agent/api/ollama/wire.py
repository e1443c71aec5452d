"""Parts that Ollama's answers share."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from starlette.responses import Response

from skerry_agent.api.errors import describe
from skerry_agent.errors import AgentError
from skerry_agent.runtime import Candidate, FinishEvent, TokenLogprobs
from skerry_protocol.errors import ProtocolError

NDJSON = "application/x-ndjson"
LEAST_LOGPROB = -9999.0
"""JSON has no infinity."""

Object = dict[str, object]


class JsonAnswer(Response):
    """A JSON body, encoded by msgspec."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The bytes."""
        return msgspec.json.encode(content)


def line(payload: Object) -> bytes:
    """One line of a stream."""
    return msgspec.json.encode(payload) + b"\n"


def error_line(error: AgentError | ProtocolError) -> bytes:
    """An error inside a stream."""
    return line(describe(error).body("/api/"))


def now() -> str:
    """The time as Ollama writes it."""
    return timestamp(time.time())


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    """A duration as Ollama gives it."""
    return round(seconds * 1e9)


def counts(finish: FinishEvent, *, total_s: float, load_s: float) -> Object:
    """Durations in nanoseconds and counts in tokens."""
    timings = finish.timings
    return {
        "total_duration": nanoseconds(total_s),
        "load_duration": nanoseconds(load_s),
        "prompt_eval_count": finish.usage.prompt_tokens,
        "prompt_eval_duration": nanoseconds(timings.prompt_ms / 1e3),
        "eval_count": finish.usage.completion_tokens,
        "eval_duration": nanoseconds(timings.decode_ms / 1e3),
    }


def logprobs(tokens: Sequence[TokenLogprobs]) -> list[Object]:
    """Log-probabilities of tokens, with those that might have come."""
    return [{**_candidate(t.chosen), "top_logprobs": [_candidate(o) for o in t.top]} for t in tokens]


def _candidate(candidate: Candidate) -> Object:
    text = candidate.text.decode("utf-8", "replace")
    value = max(candidate.logprob, LEAST_LOGPROB)
    return {"token": text, "logprob": value, "bytes": list(candidate.text)}
