"""The part of JSON Schema (2020-12) in which acceptance checks describe answers. Pure, and always ends.

Types, members, elements, lengths, bounds and combinations; no ``$ref``, no patterns and no formats: a schema
from outside must not make a device look something up or compute for long. What is not known is refused when
the schema is written, never skipped when an answer is judged.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

MAX_DEPTH: Final = 16
MAX_NODES: Final = 500
MAX_SHOWN_CHARACTERS: Final = 60

_TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
_ANNOTATIONS: Final = frozenset({"$schema", "$comment", "title", "description", "default", "examples"})
_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength"})
_HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
_LISTS: Final = frozenset({"anyOf", "allOf", "oneOf"})
_OTHERS: Final = frozenset({"type", "enum", "const", "properties", "required", "additionalProperties"})
_KNOWN: Final = frozenset({*_ANNOTATIONS, *_COUNTS, *_HOLDS, *_LISTS, *_OTHERS, "items", "not"})

Schema = Mapping[str, Any] | bool


def schema_problem(schema: object) -> str | None:
    """What is wrong with a schema, or not known here; ``None`` when every answer can be judged by it."""
    for count, (path, part) in enumerate(_walk(schema, "$", 0)):
        if count == MAX_NODES:
            return f"has more than {MAX_NODES} parts"
        problem = "is nested too deep" if part is None else _part_problem(part)
        if problem is not None:
            return f"{path} {problem}"
    return None


def violation(schema: Schema, value: object, path: str = "$") -> str | None:
    """Where and how a JSON value breaks a schema that has no problem; ``None`` when it fits."""
    if isinstance(schema, bool):
        return None if schema else f"{path} must not be there"
    for check in (_wrong_type, _wrong_value, _wrong_bounds, _wrong_members, _wrong_elements, _wrong_mix):
        found = check(schema, value, path)
        if found is not None:
            return found
    return None


def _walk(part: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    """All sub-schemas; None in the place of one that is too deep."""
    yield path, (None if depth > MAX_DEPTH else part)
    if depth > MAX_DEPTH or not isinstance(part, Mapping):
        return
    for key in ("items", "additionalProperties", "not"):
        if key in part:
            yield from _walk(part[key], f"{path}.{key}", depth + 1)
    members = part.get("properties")
    for name, member in members.items() if isinstance(members, Mapping) else ():
        yield from _walk(member, f"{path}.properties.{name}", depth + 1)
    for key in sorted(_LISTS & part.keys()):
        choices = part[key] if isinstance(part[key], Sequence) and not isinstance(part[key], str) else ()
        for number, choice in enumerate(choices):
            yield from _walk(choice, f"{path}.{key}[{number}]", depth + 1)


def _part_problem(part: object) -> str | None:
    if isinstance(part, bool):
        return None
    if not isinstance(part, Mapping):
        return "is no schema: an object, true or false"
    unknown = sorted(part.keys() - _KNOWN)
    if unknown:
        return f"uses {unknown[0]!r}, which acceptance checks do not know"
    for key, value in part.items():
        wrong = _keyword_problem(key, value)
        if wrong is not None:
            return f"has a wrong {key!r}: {wrong}"
    return None


def _keyword_problem(key: str, value: object) -> str | None:
    wanted = {
        "type": (_is_type(value), f"one or several of {', '.join(_TYPES)}"),
        "enum": (_is_list(value), "a list of values that is not empty"),
        "properties": (isinstance(value, Mapping), "an object of schemas"),
        "required": (_is_names(value), "a list of names"),
        **dict.fromkeys(_COUNTS, (_is_count(value), "a whole number from 0")),
        **dict.fromkeys(_HOLDS, (_is_number(value), "a number")),
        **dict.fromkeys(_LISTS, (_is_list(value), "a list of schemas that is not empty")),
    }
    right, expected = wanted.get(key, (True, ""))
    return None if right else f"it is {expected}"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value)


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _is_type(value: object) -> bool:
    names = (value,) if isinstance(value, str) else value
    return _is_list(names) and isinstance(names, Sequence) and all(name in _TYPES for name in names)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_whole(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_IS_A: Final[Mapping[str, Callable[[object], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_whole,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _same(one: object, other: object) -> bool:
    """JSON's equality: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _wrong_type(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    names = schema.get("type", _TYPES)
    names = (names,) if isinstance(names, str) else tuple(names)
    if any(_IS_A[name](value) for name in names):
        return None
    return f"{path} is {_shown(value)}, not {' or '.join(names)}"


def _wrong_value(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    if "const" in schema and not _same(schema["const"], value):
        return f"{path} is {_shown(value)}, not {_shown(schema['const'])}"
    if "enum" in schema and not any(_same(one, value) for one in schema["enum"]):
        return f"{path} is {_shown(value)}, which is none of the allowed values"
    return None


def _wrong_bounds(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    low, high, size = None, None, 0
    if isinstance(value, str):
        low, high, size = schema.get("minLength"), schema.get("maxLength"), len(value)
    elif isinstance(value, list):
        low, high, size = schema.get("minItems"), schema.get("maxItems"), len(value)
    if low is not None and size < low:
        return f"{path} has a length of {size}, at least {low} is expected"
    if high is not None and size > high:
        return f"{path} has a length of {size}, at most {high} is expected"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    for key, holds in _HOLDS.items():
        if key in schema and not holds(value, schema[key]):
            return f"{path} is {_shown(value)}, which breaks {key} {schema[key]}"
    return None


def _wrong_members(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    if not isinstance(value, dict):
        return None
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path} lacks {name!r}"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, member in value.items():
        found = violation(known.get(name, others), member, f"{path}.{name}")
        if found is not None:
            return found
    return None


def _wrong_elements(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    if not isinstance(value, list) or "items" not in schema:
        return None
    found = (violation(schema["items"], element, f"{path}[{i}]") for i, element in enumerate(value))
    return next((one for one in found if one is not None), None)


def _wrong_mix(schema: Mapping[str, Any], value: object, path: str) -> str | None:
    for part in schema.get("allOf", ()):
        found = violation(part, value, path)
        if found is not None:
            return found
    for key, most in (("anyOf", MAX_NODES), ("oneOf", 1)):
        parts = schema.get(key, ())
        fitting = sum(violation(part, value, path) is None for part in parts)
        if parts and not 1 <= fitting <= most:
            return f"{path} fits {fitting} of the {len(parts)} schemas of {key}"
    if "not" in schema and violation(schema["not"], value, path) is None:
        return f"{path} is {_shown(value)}, which is excluded"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
