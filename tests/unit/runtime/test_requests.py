import math
import struct
from typing import Any

import msgspec
import pytest

from skerry_agent.runtime.errors import InvalidRequestError, PromptTooLongError
from skerry_agent.runtime.request_check import validate_embed_request, validate_request
from skerry_agent.runtime.requests import ChatMessage, EmbedRequest, EmbedResult, GenerateRequest, Sampling


def _check(request: GenerateRequest) -> None:
    validate_request(request, max_prompt_bytes=1000)


def test_a_plain_request_is_fine() -> None:
    _check(GenerateRequest(prompt="Hi", max_tokens=1, stop=("x",)))
    _check(GenerateRequest(prompt=""))
    _check(GenerateRequest(messages=(ChatMessage("user", ""),), sampling=Sampling(seed=0, temperature=0)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("temperature", 101.0),
        ("top_k", -1),
        ("top_k", 2**31),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("min_p", -0.1),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", math.inf),
        ("frequency_penalty", 2.1),
        ("presence_penalty", -math.inf),
        ("repeat_window", -1),
        ("repeat_window", 2**31),
        ("seed", -1),
        ("seed", 2**32),
        ("typical_p", math.nan),
        ("typical_p", 1.5),
    ],
)
def test_sampling_values_that_llama_cpp_cannot_take_are_named(field: str, value: float) -> None:
    sampling = msgspec.structs.replace(Sampling(), **{field: value})
    with pytest.raises(InvalidRequestError, match=f"{field} is {value}: it must be from"):
        _check(GenerateRequest(prompt="Hi", sampling=sampling))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "either messages or prompt"),
        ({"prompt_tokens": (1,)}, "either messages or prompt"),
        ({"prompt": None, "prompt_tokens": (1, -1)}, "token of the prompt is -1"),
        ({"prompt": None, "prompt_tokens": (1,) * 251}, "251 tokens"),
        ({"logprobs": 21}, "logprobs is 21"),
        ({"deadline_s": math.nan}, "deadline_s is nan"),
        ({"client": "x" * 257}, "client has 257"),
        ({"grammar": "root ::= [a]", "json_schema": "{}"}, "either grammar or json_schema"),
        ({"grammar": ""}, "grammar has 0"),
        ({"grammar": "root ::= [\0]"}, "NUL"),
        ({"grammar": "(" * 201}, "open brackets in grammar is 201"),
        ({"json_schema": "{"}, "json_schema is no JSON"),
        ({"json_schema": "7"}, "an object or a boolean"),
        ({"json_schema": "[" * 900}, "json_schema is no JSON"),
        ({"tools": "[]"}, "need messages"),
        ({"template_kwargs": "{}"}, "need messages"),
        ({"prompt": None, "messages": (ChatMessage("user", "x"),), "tools": "{}"}, "tools has to be a list"),
        ({"prompt": None, "messages": (ChatMessage("a", "x", tool_calls="x"),)}, "tool_calls is no JSON"),
        ({"messages": (ChatMessage("user", "x"),)}, "either messages or prompt"),
        ({"prompt": None, "messages": ()}, "0 messages"),
        ({"prompt": None, "messages": (ChatMessage("user", "x"),) * 5000}, "5000 messages"),
        ({"prompt": None, "messages": (ChatMessage("", "x"),)}, "role has 0"),
        ({"prompt": "é" * 501}, "1002 bytes"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"stop": ("\udfff",)}, "surrogate"),
        ({"prompt": None, "messages": (ChatMessage("\udfff", "x"),)}, "surrogate"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"stop": ("",)}, "0 characters"),
        ({"stop": ("x" * 300,)}, "300 characters"),
        ({"stop": ("x",) * 10_000}, "10000 strings"),
    ],
)
def test_other_bad_requests_are_refused(change: dict[str, Any], message: str) -> None:
    request = msgspec.structs.replace(GenerateRequest(prompt="Hi"), **change)
    with pytest.raises(InvalidRequestError, match=message):
        _check(request)


def test_too_long_a_prompt_is_told_with_both_numbers() -> None:
    error = PromptTooLongError(3000, 2048)
    assert "3000" in str(error)
    assert "2048" in str(error)
    assert (error.prompt_tokens, error.context_tokens) == (3000, 2048)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (((-1, 1.0),), "token of logit_bias is -1"),
        (((1, math.nan),), "value of logit_bias is nan"),
        (((1, math.inf),), "value of logit_bias is inf"),
        (((1, 1.0),) * 1025, "1025 tokens"),
    ],
)
def test_impossible_biases_are_refused(bias: tuple[tuple[int, float], ...], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        _check(GenerateRequest(prompt="Hi", sampling=Sampling(logit_bias=bias)))


@pytest.mark.parametrize("inputs", [(), ("x",) * 2049, ("x" * 1001,), ("\ud800",)])
def test_texts_that_cannot_be_embedded_are_refused(inputs: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequestError):
        validate_embed_request(EmbedRequest(inputs), max_prompt_bytes=1000)


def test_vectors_come_as_bytes_and_as_numbers() -> None:
    result = EmbedResult((struct.pack("<2f", 0.5, -1.0),), dimensions=2, prompt_tokens=3)
    assert result.floats() == [[0.5, -1.0]]
