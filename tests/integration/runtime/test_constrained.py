"""Answers that have to follow a grammar or fit a schema, from a model that talks at random."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import jsonschema_rs
import pytest

from skerry_agent.runtime import (
    FinishEvent,
    GenerateRequest,
    InvalidRequestError,
    ModelFile,
    Runner,
    Sampling,
    TokenEvent,
)

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "ü"]}, "minItems": 1, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"},
        "born": {"type": "string", "format": "date"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMAS: list[Any] = [
    PERSON,
    {"type": "boolean"},
    {"const": 'quote " and \\ and \n'},
    {"anyOf": [{"type": "null"}, {"type": "integer", "exclusiveMinimum": 10, "maximum": 12}]},
    {"type": ["integer", "null"]},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": False},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    {
        "$ref": "#/$defs/list",
        "$defs": {
            "list": {
                "type": "object",
                "properties": {"next": {"enum": [None]}, "value": {"type": "boolean"}},
                "required": ["value"],
            }
        },
    },
    {
        "allOf": [
            {"properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"properties": {"b": {"const": 1}}},
        ]
    },
]


@pytest.fixture
async def runner(open_runner: OpenRunner, tiny: ModelFile) -> AsyncIterator[Runner]:
    async with open_runner(tiny) as opened:
        yield opened


def _wild(seed: int) -> Sampling:
    return Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)


async def _answer(runner: Runner, request: GenerateRequest) -> tuple[str, FinishEvent]:
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    return "".join(event.text for event in events if isinstance(event, TokenEvent)), events[-1]


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
async def test_every_answer_fits_the_schema(runner: Runner, number: int) -> None:
    schema = SCHEMAS[number]
    requests = [
        GenerateRequest(prompt="The answer is ", json_schema=json.dumps(schema), sampling=_wild(seed))
        for seed in range(6)
    ]
    greedy = GenerateRequest(prompt="x", json_schema=json.dumps(schema), sampling=Sampling(temperature=0))
    answers = await asyncio.gather(*(_answer(runner, request) for request in (*requests, greedy)))
    for text, finish in answers:
        if finish.reason == "length":  # a string without a bound may go on for ever
            continue
        value = json.loads(text)
        jsonschema_rs.validate(schema, value)


async def test_an_answer_follows_a_grammar_beside_free_ones(runner: Runner) -> None:
    bound = GenerateRequest(prompt="Hi", grammar='root ::= ("yes" | "no") ", " [0-9]{4}', sampling=_wild(3))
    free = GenerateRequest(prompt="Hi", sampling=Sampling(temperature=0), max_tokens=30)
    alone, _ = await _answer(runner, free)
    (text, finish), (other, _) = await asyncio.gather(_answer(runner, bound), _answer(runner, free))
    assert re.fullmatch(r"(yes|no), \d{4}", text)
    assert finish.reason == "stop"
    assert other == alone


async def test_a_grammar_that_allows_no_end_but_has_no_more_tokens_ends(runner: Runner) -> None:
    request = GenerateRequest(
        prompt="Hi", grammar='root ::= "ok"', ignore_eos=True, sampling=Sampling(temperature=0), max_tokens=9
    )
    text, finish = await _answer(runner, request)
    assert text == "ok"
    assert finish.reason == "stop"


@pytest.mark.parametrize(
    "grammar",
    ["", "root", "root ::= other", "x ::= [a]", "root ::= [", "root ::= root [a]", "root ::= (" * 150],
)
async def test_a_grammar_that_is_none_is_refused_and_the_runner_lives(runner: Runner, grammar: str) -> None:
    with pytest.raises(InvalidRequestError):
        await _answer(runner, GenerateRequest(prompt="Hi", grammar=grammar, max_tokens=4))
    await _answer(runner, GenerateRequest(prompt="Hi", max_tokens=1))


async def test_a_bad_grammar_is_told_to_him_who_sent_it_only(runner: Runner) -> None:
    with pytest.raises(InvalidRequestError, match="Undefined rule identifier 'secret'"):
        await _answer(runner, GenerateRequest(prompt="Hi", grammar='root ::= "private" secret'))
    os.kill(runner.pid, signal.SIGKILL)
    await runner.exited
    error = runner.crash_error()
    assert "private" not in error.stderr_tail + str(error)


async def test_an_impossible_schema_is_refused_with_its_place(runner: Runner) -> None:
    schema = json.dumps({"properties": {"a": {"enum": []}}})
    with pytest.raises(InvalidRequestError, match="#/properties/a: nothing can fit it"):
        await _answer(runner, GenerateRequest(prompt="Hi", json_schema=schema))
