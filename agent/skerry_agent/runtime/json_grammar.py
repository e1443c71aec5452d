"""From a JSON schema to a grammar (GBNF) that allows only what fits it. Pure.

Source: https://json-schema.org/draft/2020-12 for the meaning; llama.cpp's grammars/README.md for GBNF.
Handled are types, properties, items, enumerations, references within the schema, anyOf, oneOf, allOf of
objects, lengths, patterns, and bounds of integers. What a grammar cannot hold about a value (``multipleOf``,
``uniqueItems``, bounds of numbers that are no integers, unknown formats, lengths over ``MAX_REPEATS``) is not
enforced; what would change the structure and is not handled is refused.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.integer_grammar import integer_range
from skerry_agent.runtime.pattern_grammar import PatternError, pattern_body
from skerry_agent.runtime.requests import GenerateRequest

MAX_REPEATS = 1000
MAX_RULES = 2000
MAX_DEPTH = 64
REFUSED = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains", "$dynamicRef"),
    *("patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
)

BASE_RULES = {
    "space": r'| " " | "\n" [ \t]{0,20}',
    "char": r'[^"\\\x7F\x00-\x1F] | [\\] (["\\bfnrt/] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\"" space',
    "integer": r'"-"? ("0" | [1-9] [0-9]{0,15}) space',
    "number": r'"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9] [0-9]{0,2})? space',
    "boolean": r'("true" | "false") space',
    "null": r'"null" space',
    "value": "object | array | string | number | boolean | null",
    "object": r'"{" space (string ":" space value ("," space string ":" space value)*)? "}" space',
    "array": r'"[" space (value ("," space value)*)? "]" space',
    "date": r'[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [1-2] [0-9] | "3" [0-1])',
    "time": r'([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{3})?'
    r' ("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
    "uuid": r'[0-9a-fA-F]{8} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{4} "-" [0-9a-fA-F]{12}',
}
FORMATS = {"date": "date", "time": "time", "date-time": 'date "T" time', "uuid": "uuid"}
Schema = Mapping[str, Any] | bool


def grammar_for_schema(text: str) -> str:
    """The grammar for a schema in JSON.

    Raises:
        InvalidRequestError: It is no schema, nothing can fit it, or it uses what is not handled; the message
            names the place.
    """
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"json_schema is no JSON: {error}") from error
    return _Converter(schema).grammar()


def with_grammar(request: GenerateRequest) -> GenerateRequest:
    """The request with its JSON schema, if it has one, turned into a grammar.

    Raises:
        InvalidRequestError: As ``grammar_for_schema``.
    """
    if request.json_schema is None:
        return request
    grammar = grammar_for_schema(request.json_schema)
    return msgspec.structs.replace(request, grammar=grammar, json_schema=None)


class _Converter:
    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}
        self._depth = 0

    def grammar(self) -> str:
        body = self._body(self._schema, "#")
        self._rules["root"] = f"space {body}" if body.startswith("(") else f"space ({body})"
        self._need_base()
        return "".join(f"{name} ::= {rule}\n" for name, rule in self._rules.items())

    def _need_base(self) -> None:
        """Add the base rules that are used, and those that they use."""
        missing = True
        while missing:
            used = set(re.findall(r"[a-z][a-z0-9-]*", " ".join(self._rules.values())))
            missing = bool(names := [name for name in BASE_RULES if name in used and name not in self._rules])
            self._rules |= {name: BASE_RULES[name] for name in names}

    def _rule(self, body: str) -> str:
        """A name for a body."""
        if len(self._rules) >= MAX_RULES:
            raise InvalidRequestError(f"json_schema is too large: it needs more than {MAX_RULES} rules")
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def _body(self, schema: Any, place: str) -> str:
        if schema is False:
            raise InvalidRequestError(f"json_schema at {place}: nothing can fit it")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise InvalidRequestError(f"json_schema at {place}: a schema is an object or a boolean")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidRequestError(f"json_schema at {place}: it is nested more than {MAX_DEPTH} deep")
        try:
            return self._object_schema(schema, place)
        finally:
            self._depth -= 1

    def _object_schema(self, schema: Mapping[str, Any], place: str) -> str:
        for keyword in REFUSED:
            if keyword in schema:
                raise InvalidRequestError(f"json_schema at {place}: {keyword} is not supported")
        if "$ref" in schema:
            return self._reference(schema["$ref"], place)
        if "const" in schema:
            return _literal(schema["const"]) + " space"
        if "enum" in schema:
            return self._choice([_literal(each) + " space" for each in _list(schema, "enum", place)], place)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                parts = _list(schema, keyword, place)
                bodies = [self._body(each, f"{place}/{keyword}/{i}") for i, each in enumerate(parts)]
                return self._choice(bodies, place)
        if "allOf" in schema:
            return self._object_schema(self._merged(schema, place), place)
        return self._typed(schema, place)

    def _typed(self, schema: Mapping[str, Any], place: str) -> str:
        kind = schema.get("type") or _implied_type(schema)
        if isinstance(kind, list):
            bodies = [self._typed({**schema, "type": each}, place) for each in kind]
            return self._choice(bodies, place)
        if kind in {"number", "boolean", "null", "value"}:
            return str(kind)
        makers = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
        }
        if kind not in makers:
            raise InvalidRequestError(f"json_schema at {place}: type {kind!r} does not exist")
        return makers[kind](schema, place)

    def _choice(self, bodies: Sequence[str], place: str) -> str:
        if not bodies:
            raise InvalidRequestError(f"json_schema at {place}: nothing can fit it")
        return "(" + " | ".join(bodies) + ")"

    def _reference(self, reference: Any, place: str) -> str:
        if reference not in self._references:
            target = self._resolve(reference, place)
            # The name first: what it stands for may refer to itself.
            name = self._references[reference] = self._rule("")
            self._rules[name] = self._body(target, str(reference))
        return self._references[reference]

    def _resolve(self, reference: Any, place: str) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise InvalidRequestError(f"json_schema at {place}: only references within the schema (#/…) work")
        target = self._schema
        for part in reference[1:].strip("/").split("/") if reference != "#" else ():
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                raise InvalidRequestError(f"json_schema at {place}: {reference} does not exist")
            target = target[key]
        if isinstance(target, dict) and target.get("$ref") == reference:
            raise InvalidRequestError(f"json_schema at {place}: {reference} refers to itself")
        return target

    def _merged(self, schema: Mapping[str, Any], place: str) -> dict[str, Any]:
        """``allOf``: the properties of all parts together, as schemas that extend others are written."""
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        merged: dict[str, Any] = {"properties": {}, "required": []}
        for part in [*_list(schema, "allOf", place), rest]:
            while isinstance(part, dict) and "$ref" in part:
                part = self._resolve(part["$ref"], place)  # noqa: PLW2901 - follows the reference
            if not isinstance(part, dict) or {"anyOf", "oneOf", "enum", "const"} & part.keys():
                raise InvalidRequestError(f"json_schema at {place}: allOf works for plain schemas only")
            nested = self._merged(part, place) if "allOf" in part else part
            merged["properties"] |= nested.get("properties", {})
            merged["required"] += nested.get("required", [])
            merged |= {k: v for k, v in nested.items() if k not in {"properties", "required"}}
        if not merged["properties"]:
            del merged["properties"], merged["required"]
        return merged

    def _object(self, schema: Mapping[str, Any], place: str) -> str:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise InvalidRequestError(f"json_schema at {place}: properties has to be an object")
        extra = schema.get("additionalProperties", not properties)
        required = set(_list(schema, "required", place)) if "required" in schema else set()
        if unknown := sorted(required - properties.keys()):
            if extra is False:
                raise InvalidRequestError(
                    f"json_schema at {place}: {unknown[0]!r} is required, but not among the properties"
                )
            properties = properties | dict.fromkeys(unknown, extra)
        pairs = []
        for name, value in properties.items():
            body = self._body(value, f"{place}/properties/{name}")
            pairs.append((f'{_literal(name)} space ":" space {body}', name in required))
        other = None if extra is False else f'string ":" space {self._body(extra, place)}'
        return f'"{{" space {self._members(pairs, other)} "}}" space'

    def _members(self, pairs: Sequence[tuple[str, bool]], other: str | None) -> str:
        """Members in the order of the schema, with commas between those that are there.

        Two rules for each place: one for when no member came before, and one for when some did.
        """
        first = later = ""
        if other is not None:
            name = self._rule(other)
            first, later = f'({name} ("," space {name})*)?', f'("," space {name})*'
        for pair, required in reversed(pairs):
            name = self._rule(pair)
            rest = self._rule(later) if later else ""
            if required:
                first, later = f"{name} {rest}", f'"," space {name} {rest}'
            else:
                first, later = (
                    f"({name} {rest} | {first})" if first else f"({name} {rest})?",
                    (f'("," space {name})? {rest}'),
                )
            first = self._rule(first)
        return first

    def _array(self, schema: Mapping[str, Any], place: str) -> str:
        low, high = self._bounds(schema, "minItems", "maxItems", place)
        items = schema.get("items", True)
        fixed = _list(schema, "prefixItems", place) if "prefixItems" in schema else []
        bodies = [self._rule(self._body(each, f"{place}/prefixItems/{i}")) for i, each in enumerate(fixed)]
        parts = [f'"," space {body}' if i else body for i, body in enumerate(bodies)]
        if items is False:
            low = high = 0
        low, high = max(0, low - len(bodies)), None if high is None else max(0, high - len(bodies))
        if high != 0:
            item = self._rule(self._body(items, f"{place}/items"))
            if parts:
                parts.append(f'("," space {item}){_repeats(low, high)}')
            else:
                more = f'("," space {item}){_repeats(max(0, low - 1), None if high is None else high - 1)}'
                parts.append(f"{item} {more}" if low else f"({item} {more})?")
        return f'"[" space {" ".join(parts)} "]" space'

    def _string(self, schema: Mapping[str, Any], place: str) -> str:
        if isinstance(pattern := schema.get("pattern"), str):
            try:
                return rf'"\"" {pattern_body(pattern)} "\"" space'
            except PatternError as error:
                raise InvalidRequestError(f"json_schema at {place}: pattern {error}") from error
        if (form := schema.get("format")) in FORMATS:
            return rf'"\"" {FORMATS[str(form)]} "\"" space'
        if "minLength" not in schema and "maxLength" not in schema:
            return "string"
        low, high = self._bounds(schema, "minLength", "maxLength", place)
        return rf'"\"" char{_repeats(low, high)} "\"" space'

    def _integer(self, schema: Mapping[str, Any], place: str) -> str:
        low = _whole_bound(schema, "minimum", "exclusiveMinimum", 1)
        high = _whole_bound(schema, "maximum", "exclusiveMaximum", -1)
        if low is None and high is None:
            return "integer"
        if low is not None and high is not None and low > high:
            raise InvalidRequestError(f"json_schema at {place}: no integer is between its bounds")
        return f"({integer_range(low, high)}) space"

    def _bounds(self, schema: Mapping[str, Any], low: str, high: str, place: str) -> tuple[int, int | None]:
        least, most = schema.get(low, 0), schema.get(high)
        for value in (least, most):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise InvalidRequestError(f"json_schema at {place}: {low} and {high} are whole numbers")
        if most is not None and most < least:
            raise InvalidRequestError(f"json_schema at {place}: {low} is more than {high}")
        if least > MAX_REPEATS:
            raise InvalidRequestError(f"json_schema at {place}: {low} is at most {MAX_REPEATS} here")
        return least, None if most is None or most > MAX_REPEATS else most


def _repeats(low: int, high: int | None) -> str:
    return f"{{{low},{'' if high is None else high}}}"


def _literal(value: Any) -> str:
    """A JSON value as a GBNF string."""
    text = json.dumps(value, ensure_ascii=False)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\x00") + '"'


def _list(schema: Mapping[str, Any], keyword: str, place: str) -> list[Any]:
    value = schema[keyword]
    if not isinstance(value, list):
        raise InvalidRequestError(f"json_schema at {place}: {keyword} has to be a list")
    return value


def _implied_type(schema: Mapping[str, Any]) -> str:
    """The type that keywords are about, when none is named."""
    if {"properties", "required", "additionalProperties"} & schema.keys():
        return "object"
    if {"items", "prefixItems", "minItems", "maxItems"} & schema.keys():
        return "array"
    if {"pattern", "minLength", "maxLength", "format"} & schema.keys():
        return "string"
    return "value"


def _whole_bound(schema: Mapping[str, Any], inclusive: str, exclusive: str, inwards: int) -> int | None:
    """The outermost integer that both bounds allow; ``inwards`` is 1 for a lower bound, -1 for an upper."""
    found = []
    for name in (inclusive, exclusive):
        value = schema.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        whole = math.ceil(value) if inwards > 0 else math.floor(value)
        found.append(whole + inwards if name == exclusive and whole == value else whole)
    if not found:
        return None
    return max(found) if inwards > 0 else min(found)
