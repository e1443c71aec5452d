"""Refuses requests that no model can run, and what would make llama.cpp abort. Pure."""

import math
from typing import Any

import msgspec

from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.requests import AdapterFile, ChatMessage, EmbedRequest, GenerateRequest, Sampling
from skerry_protocol.limits import DEFAULT_LIMITS

MAX_STOP_STRINGS = 16
MAX_STOP_CHARS = 256
MAX_TEMPERATURE = 100.0
MAX_SEED = 2**32 - 2  # 2**32 - 1 is llama.cpp's LLAMA_DEFAULT_SEED: "take a random one".
MAX_TOP_K = 2**31 - 1
MAX_TOKEN = 2**31 - 1
MAX_REPEAT_WINDOW = 65_536
MAX_ROLE_CHARS = 64
MAX_NAME_CHARS = 256
MAX_MESSAGES = 4096
MAX_LOGPROBS = 20  # OpenAI's limit
MAX_BIASES = 1024
MAX_BIAS = 10_000.0
MAX_GRAMMAR_CHARS = 64 * 1024
MAX_GRAMMAR_DEPTH = 200  # llama.cpp parses groups by recursion
MAX_CLIENT_CHARS = 256
MAX_DEADLINE_S = 86_400.0
MAX_INPUTS = 2048


def validate_request(request: GenerateRequest, *, max_prompt_bytes: int) -> None:
    """Refuse a generation that cannot be run whatever the model.

    Args:
        request: The request to look at.
        max_prompt_bytes: Limit for all text of the prompt together, in bytes of UTF-8.

    Raises:
        InvalidRequestError: With the field's name, its value and what is allowed.
    """
    _validate_stop(request.stop)
    _validate_prompt(request, max_prompt_bytes)
    _validate_sampling(request.sampling)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise InvalidRequestError(f"max_tokens is {request.max_tokens}: it must be at least 1")
    if request.context_tokens is not None and request.context_tokens < 1:
        raise InvalidRequestError(f"num_ctx is {request.context_tokens}: it must be at least 1")
    if request.logprobs is not None:
        _check("logprobs", request.logprobs, 0, MAX_LOGPROBS)
    if request.deadline_s is not None:
        _check("deadline_s", request.deadline_s, 0.0, MAX_DEADLINE_S)
    _validate_client(request.client)
    _validate_adapters(request.adapters)
    _validate_constraint(request)
    _validate_template_input(request)


def validate_embed_request(request: EmbedRequest, *, max_prompt_bytes: int) -> None:
    """Refuse texts that cannot be embedded whatever the model.

    Raises:
        InvalidRequestError: With the field's name, its value and what is allowed.
    """
    if not 1 <= len(request.inputs) <= MAX_INPUTS:
        raise InvalidRequestError(f"there are {len(request.inputs)} inputs: 1 to {MAX_INPUTS} are allowed")
    _validate_client(request.client)
    _validate_adapters(request.adapters)
    _check_size(request.inputs, max_prompt_bytes)


def _validate_prompt(request: GenerateRequest, max_prompt_bytes: int) -> None:
    given = [request.messages is not None, request.prompt is not None, request.prompt_tokens is not None]
    if sum(given) != 1:
        raise InvalidRequestError("give either messages or prompt, and not both")
    texts: list[str] = [*request.stop, request.prompt or "", request.grammar or "", request.client]
    texts += [request.json_schema or "", request.tools or "", request.template_kwargs or ""]
    if request.messages is not None:
        _validate_messages(request.messages)
        for m in request.messages:
            texts += (m.role, m.content, m.tool_calls or "", m.tool_call_id, m.name)
    _check_size(texts, max_prompt_bytes)
    tokens = request.prompt_tokens or ()
    if len(tokens) * 4 > max_prompt_bytes:
        raise InvalidRequestError(
            f"the prompt has {len(tokens)} tokens: at most {max_prompt_bytes // 4} are allowed"
        )
    for token in tokens:
        _check("a token of the prompt", token, 0, MAX_TOKEN)


def _check_size(texts: list[str] | tuple[str, ...], max_prompt_bytes: int) -> None:
    size = 0
    for text in texts:
        try:
            size += len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                "the request's text holds a lone surrogate, which no UTF-8 text can: send valid Unicode"
            ) from error
    if size > max_prompt_bytes:
        raise InvalidRequestError(f"the prompt has {size} bytes: at most {max_prompt_bytes} are allowed")


def _validate_messages(messages: tuple[ChatMessage, ...]) -> None:
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidRequestError(f"there are {len(messages)} messages: 1 to {MAX_MESSAGES} are allowed")
    for message in messages:
        _check_length("a message's role", message.role, 1, MAX_ROLE_CHARS)
        _check_length("a message's name", message.name, 0, MAX_NAME_CHARS)
        _check_length("a message's tool_call_id", message.tool_call_id, 0, MAX_NAME_CHARS)
        if message.tool_calls is not None:
            _json("a message's tool_calls", message.tool_calls, list, "a list")


def _validate_client(client: str) -> None:
    _check_length("client", client, 0, MAX_CLIENT_CHARS)


def _validate_adapters(adapters: tuple[AdapterFile, ...]) -> None:
    limit = DEFAULT_LIMITS.max_adapters
    if len(adapters) > limit:
        raise InvalidRequestError(f"the model has {len(adapters)} adapters: at most {limit} are allowed")


def _validate_stop(stop: tuple[str, ...]) -> None:
    if len(stop) > MAX_STOP_STRINGS:
        raise InvalidRequestError(f"stop has {len(stop)} strings: at most {MAX_STOP_STRINGS} are allowed")
    for text in stop:
        _check_length("a stop string", text, 1, MAX_STOP_CHARS)


def _validate_sampling(sampling: Sampling) -> None:
    _check("temperature", sampling.temperature, 0.0, MAX_TEMPERATURE)
    _check("top_k", sampling.top_k, 0, MAX_TOP_K)
    _check("top_p", sampling.top_p, 0.0, 1.0)
    _check("min_p", sampling.min_p, 0.0, 1.0)
    _check("typical_p", sampling.typical_p, 0.0, 1.0)
    _check("repeat_penalty", sampling.repeat_penalty, 0.01, 10.0)
    _check("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0)
    _check("presence_penalty", sampling.presence_penalty, -2.0, 2.0)
    _check("repeat_window", sampling.repeat_window, 0, MAX_REPEAT_WINDOW)
    if sampling.seed is not None:
        _check("seed", sampling.seed, 0, MAX_SEED)
    if len(sampling.logit_bias) > MAX_BIASES:
        raise InvalidRequestError(
            f"logit_bias has {len(sampling.logit_bias)} tokens: at most {MAX_BIASES} are allowed"
        )
    for token, bias in sampling.logit_bias:
        _check("a token of logit_bias", token, 0, MAX_TOKEN)
        _check("a value of logit_bias", bias, -MAX_BIAS, MAX_BIAS)


def _validate_constraint(request: GenerateRequest) -> None:
    if request.grammar is not None and request.json_schema is not None:
        raise InvalidRequestError("give either grammar or json_schema, and not both")
    if request.grammar is not None:
        _check_length("grammar", request.grammar, 1, MAX_GRAMMAR_CHARS)
        _check_no_nul("grammar", request.grammar)
        _check("the number of open brackets in grammar", request.grammar.count("("), 0, MAX_GRAMMAR_DEPTH)
    if request.json_schema is not None:
        _check_length("json_schema", request.json_schema, 1, MAX_GRAMMAR_CHARS)
        _json("json_schema", request.json_schema, (dict, bool), "an object or a boolean")


def _validate_template_input(request: GenerateRequest) -> None:
    if request.messages is None and (request.tools is not None or request.template_kwargs is not None):
        raise InvalidRequestError("tools and template_kwargs need messages: they are for the chat template")
    if request.tools is not None:
        _json("tools", request.tools, list, "a list")
    if request.template_kwargs is not None:
        _json("template_kwargs", request.template_kwargs, dict, "an object")


def _json(name: str, text: str, kind: type | tuple[type, ...], expected: str) -> None:
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{name} is no JSON that can be read: {error}") from error
    if not isinstance(value, kind):
        raise InvalidRequestError(f"{name} has to be {expected} in JSON")


def _check_no_nul(name: str, text: str) -> None:
    if "\0" in text:
        raise InvalidRequestError(f"{name} holds a NUL character: it ends C strings")


def _check_length(name: str, text: str, low: int, high: int) -> None:
    if not low <= len(text) <= high:
        raise InvalidRequestError(f"{name} has {len(text)} characters: {low} to {high} are allowed")


def _check(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequestError(f"{name} is {value}: it must be from {low} to {high}")
