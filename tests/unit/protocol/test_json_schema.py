from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol.json_schema import MAX_DEPTH, MAX_NODES, schema_problem, violation

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "bc"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
NUMBERS = st.integers(-2, 2) | st.just(0.5)
COUNTS = st.integers(0, 3)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=2),
            "const": VALUES,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "required": st.lists(st.sampled_from("abc"), max_size=1),
            "additionalProperties": inner,
            "items": inner,
            **dict.fromkeys(["minItems", "maxItems", "minLength", "maxLength"], COUNTS),
            **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], NUMBERS),
            **dict.fromkeys(["anyOf", "allOf", "oneOf"], lists),
            "not": inner,
        },
    )


SCHEMAS = st.recursive(st.booleans(), _schemas, max_leaves=5)


@given(SCHEMAS, VALUES)
def test_it_judges_as_a_full_validator_does(schema: Any, value: Any) -> None:
    assert schema_problem(schema) is None
    assert (violation(schema, value) is None) == jsonschema_rs.is_valid(schema, value)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"pattern": "a"}, "$ uses 'pattern', which acceptance checks do not know"),
        ({"properties": {"a": {"$ref": "#"}}}, "$.properties.a uses '$ref'"),
        ({"type": "text"}, "$ has a wrong 'type': it is one or several of null, boolean"),
        ({"anyOf": []}, "a list of schemas that is not empty"),
        ({"items": 3}, "$.items is no schema"),
        ({"minLength": -1}, "a whole number from 0"),
        ({"minimum": True}, "a number"),
        ({"required": "a"}, "a list of names"),
        ({"oneOf": [True] * (MAX_NODES + 1)}, f"has more than {MAX_NODES} parts"),
    ],
)
def test_what_it_does_not_know_is_said_where_it_stands(schema: Any, problem: str) -> None:
    assert problem in (schema_problem(schema) or "")


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(MAX_DEPTH + 1):
        schema = {"items": schema}
    assert "nested too deep" in (schema_problem(schema) or "")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "x"}, "$ lacks 'age'"),
        ({"name": "x", "age": "old"}, "$.age is 'old', not integer"),
        ({"name": "x", "age": -1}, "$.age is -1, which breaks minimum 0"),
        ({"name": "", "age": 1}, "$.name has a length of 0, at least 1 is expected"),
        ({"name": "x", "age": 1, "more": 1}, "$.more must not be there"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value: Any, message: str) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    assert violation(schema, value) == message
