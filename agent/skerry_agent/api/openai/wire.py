"""Parts that OpenAI's answers share."""

from collections.abc import Iterable, Sequence

import msgspec
from starlette.responses import Response

from skerry_agent.api.errors import describe
from skerry_agent.errors import AgentError
from skerry_agent.runtime import Candidate, FinishEvent, TokenLogprobs, Usage

EVENT_STREAM = "text/event-stream"
DONE = b"data: [DONE]\n\n"
LEAST_LOGPROB = -9999.0
"""What OpenAI's reference gives for a token that is very unlikely; JSON has no infinity."""

Object = dict[str, object]


class JsonAnswer(Response):
    """A JSON body, encoded by msgspec: many times faster for long vectors and log-probabilities."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The bytes."""
        return msgspec.json.encode(content)


def server_event(payload: Object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(payload) + b"\n\n"


def error_event(error: AgentError) -> bytes:
    """An error inside a stream."""
    return server_event(describe(error).body("/v1/"))


def usage_of(finishes: Iterable[FinishEvent], *, choices_per_prompt: int = 1) -> Object:
    """Counts over all choices; a prompt is counted once, however many choices it has."""
    usages = [finish.usage for finish in finishes]
    first = usages[::choices_per_prompt] or [Usage(0, 0)]
    prompt = sum(usage.prompt_tokens for usage in first)
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in first)},
    }


def timings_of(finish: FinishEvent) -> Object:
    """Where the time went, as llama-server tells it and as the runtime does."""
    timings: Object = msgspec.to_builtins(finish.timings)
    return timings


def chat_logprobs(tokens: Sequence[TokenLogprobs]) -> Object:
    """Log-probabilities as chat completions and responses give them."""
    return {"content": [token_logprobs(token) for token in tokens], "refusal": None}


def token_logprobs(token: TokenLogprobs) -> Object:
    """One token of them."""
    return {**_candidate(token.chosen), "top_logprobs": [_candidate(other) for other in token.top]}


def logprob(candidate: Candidate) -> float:
    """A logarithm that JSON can hold."""
    return max(candidate.logprob, LEAST_LOGPROB)


def token_text(candidate: Candidate) -> str:
    """A token's text; bytes that are no whole character are shown as replaced."""
    return candidate.text.decode("utf-8", "replace")


def _candidate(candidate: Candidate) -> Object:
    return {
        "token": token_text(candidate),
        "logprob": logprob(candidate),
        "bytes": list(candidate.text),
    }
