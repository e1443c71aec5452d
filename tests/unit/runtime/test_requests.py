import math
from typing import Any

import msgspec
import pytest

from skerry_agent.runtime.errors import InvalidRequestError, PromptTooLongError
from skerry_agent.runtime.requests import ChatMessage, GenerateRequest, Sampling, validate_request


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
        ({"stop": ("x",) * 17}, "17 strings"),
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
