"""Items of a response's output."""

from collections.abc import Sequence

from skerry_agent.api.openai.wire import Object, token_logprobs
from skerry_agent.runtime import TokenLogprobs


def text_part(text: str, logprobs: Sequence[TokenLogprobs] = ()) -> Object:
    """The content of a message."""
    shown = [token_logprobs(token) for token in logprobs]
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": shown}


def message_item(
    item_id: str, text: str | None, logprobs: Sequence[TokenLogprobs] = (), status: str = "completed"
) -> Object:
    """A message; None as its text is one that has only begun."""
    content = [] if text is None else [text_part(text, logprobs)]
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content}


def call_item(item_id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> Object:
    """A function call."""
    return {
        "type": "function_call",
        "id": item_id,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def reasoning_item(item_id: str, text: str | None, status: str = "completed") -> Object:
    """What the model thought aloud; None as its text is one that has only begun."""
    content = [] if text is None else [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "id": item_id, "summary": [], "content": content, "status": status}
