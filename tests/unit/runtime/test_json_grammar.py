import json
import re
from typing import Any

import pytest

from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.integer_grammar import integer_range
from skerry_agent.runtime.json_grammar import grammar_for_schema
from skerry_agent.runtime.pattern_grammar import PatternError, pattern_body


def _grammar(schema: Any) -> str:
    return grammar_for_schema(json.dumps(schema))


def _as_regex(body: str) -> re.Pattern[str]:
    """The part of GBNF without rules is a regular expression with quoted literals."""

    def literal(found: re.Match[str]) -> str:
        if found.group().startswith("["):
            return found.group()
        return re.escape(re.sub(r"\\(.)", r"\1", found.group()[1:-1]))

    body = body.replace("char", r'[^"\\]')
    return re.compile(re.sub(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]', literal, body).replace(" ", ""))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (0, 9), (7, 130), (-5, 130), (-130, -7), (1, 99), (10, 20), (99, 101), (-1, 0), (0, 255)],
)
def test_the_integers_of_a_range_fit_and_no_others(low: int, high: int) -> None:
    fits = _as_regex(integer_range(low, high))
    assert [n for n in range(-1200, 1200) if fits.fullmatch(str(n))] == list(range(low, high + 1))


@pytest.mark.parametrize(
    ("low", "high"), [(5, None), (None, 5), (-5, None), (None, -5), (100, None), (0, None)]
)
def test_a_range_may_be_open(low: int | None, high: int | None) -> None:
    fits = _as_regex(integer_range(low, high))
    for n in (*range(-1200, 1200), 10**9, -(10**9)):
        inside = (low is None or n >= low) and (high is None or n <= high)
        assert bool(fits.fullmatch(str(n))) == inside, n


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[A-Z]{3}$", ["ABC"], ["AB", "ABCD", "abc"]),
        (r"^\d{2,3}-\w+$", ["12-x", "123-a_9"], ["1-x", "1234-x", "12-"]),
        ("^(foo|bar)?$", ["foo", "bar", ""], ["fo", "foobar"]),
        ("^(?:ab)+$", ["ab", "abab"], ["aba"]),
        (r"^a\.b$", ["a.b"], ["axb"]),
        (r"^[^a-c]x*?$", ["dxx", "z"], ["a"]),
        (r"^[\-_^]$", ["-", "_", "^"], ["a"]),
        ("core", ["core", "a core b"], ["cor"]),
        ("^a", ["a", "abc"], ["ba"]),
        ("a$", ["a", "cba"], ["ab"]),
        (r"^\$\d$", ["$1"], ["1"]),
        ("^ä{2}$", ["ää"], ["ä"]),
    ],
)
def test_patterns_match_the_same_texts(pattern: str, good: list[str], bad: list[str]) -> None:
    fits = _as_regex(pattern_body(pattern))
    for text in good:
        assert fits.fullmatch(text), text
    for text in bad:
        assert not fits.fullmatch(text), text


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)", "(?!a)", r"\bx", "(", "[", "a)", "[]", "*", "a{2000}", "a^b", "^a|b$", "\\"],
)
def test_patterns_that_are_not_handled_are_named(pattern: str) -> None:
    with pytest.raises(PatternError):
        pattern_body(pattern)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "nothing can fit it"),
        ({"enum": []}, "nothing can fit it"),
        ({"anyOf": []}, "nothing can fit it"),
        ({"type": "object", "properties": {"a": False}}, "#/properties/a: nothing can fit"),
        ({"type": "thing"}, "type 'thing' does not exist"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no integer is between"),
        ({"type": "integer", "exclusiveMinimum": 4, "maximum": 4.5}, "no integer is between"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems is more than maxItems"),
        ({"type": "string", "minLength": -1}, "whole numbers"),
        ({"type": "string", "minLength": 10**9}, "at most 1000"),
        ({"type": "string", "pattern": "(?=x)"}, "pattern has a group"),
        ({"not": {}}, "not is not supported"),
        ({"type": "object", "patternProperties": {}}, "patternProperties is not supported"),
        (
            {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False},
            "'a' is required",
        ),
        ({"$ref": "https://example.org/x"}, "only references within"),
        ({"$ref": "#/$defs/x"}, "does not exist"),
        ({"$ref": "#"}, "refers to itself"),
        ({"properties": []}, "properties has to be"),
        ({"required": "a"}, "required has to be a list"),
        ({"items": 7}, "a schema is an object or a boolean"),
        ({"allOf": [{"enum": [1]}]}, "allOf works for plain"),
        ({"properties": {str(n): {"type": "integer"} for n in range(1500)}}, "too large"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_with_its_place(schema: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        _grammar(schema)


def test_a_schema_that_is_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequestError, match="nested more than 64"):
        _grammar(schema)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no JSON"):
        grammar_for_schema("{")


def test_a_schema_may_refer_to_itself_below() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
    grammar = _grammar({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert grammar.count('\\"next\\"') == 1


def test_only_base_rules_that_are_used_are_there() -> None:
    assert "object ::=" not in _grammar({"type": "integer"})
    assert "object ::=" in _grammar({})
