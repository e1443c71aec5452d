r"""A grammar (GBNF) for the common part of JSON schema's regular expressions. Pure.

Source: ECMA-262 (the dialect of JSON schema's ``pattern``). Handled are literals, ``.``, classes,
``\d \w \s``, groups, alternatives and repetitions; not back references and assertions. What a JSON string has
to escape cannot be matched.
"""

import re

MAX_COUNT = 1000
CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " \\t"}
FIRST_PRINTABLE = 32
ANY = r'[^"\\\x7F\x00-\x1F]'
COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")


class PatternError(Exception):
    """The pattern uses what is not handled, or is none."""


def pattern_body(pattern: str) -> str:
    """The body of a rule for the text between a JSON string's quotation marks.

    Raises:
        PatternError: With what is wrong, and where.
    """
    anchored_start, anchored_end = (
        pattern.startswith("^"),
        pattern.endswith("$") and not pattern.endswith("\\$"),
    )
    inner = pattern[anchored_start : len(pattern) - anchored_end]
    if (anchored_start or anchored_end) and "|" in re.sub(r"\\.|\([^()]*\)|\[[^\]]*\]", "", inner):
        raise PatternError("has alternatives beside ^ or $: put them in a group")
    parser = _Parser(inner)
    body = parser.alternatives()
    if parser.at < len(inner):
        raise PatternError(f"has an unexpected {inner[parser.at]!r}")
    return f"{'' if anchored_start else 'char* '}({body}){'' if anchored_end else ' char*'}"


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def _next(self) -> str:
        if self.at >= len(self._text):
            raise PatternError("ends too early")
        self.at += 1
        return self._text[self.at - 1]

    def alternatives(self) -> str:
        options = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            options.append(self._sequence())
        return " | ".join(options)

    def _sequence(self) -> str:
        parts = []
        while self._peek() not in {"", "|", ")"}:
            atom = self._atom()
            parts.append(atom + self._repetition())
        return " ".join(parts) or '""'

    def _repetition(self) -> str:
        symbol = self._peek()
        if symbol in {"*", "+", "?"} and symbol:
            self.at += 1
        elif symbol == "{" and (found := COUNT.match(self._text, self.at)):
            self.at = found.end()
            symbol = found.group()
            if any(int(number) > MAX_COUNT for number in found.group(1, 3) if number):
                raise PatternError(f"repeats more than {MAX_COUNT} times")
        else:
            return ""
        if self._peek() == "?":
            self.at += 1  # lazy: the same texts match
        return symbol

    def _atom(self) -> str:
        symbol = self._next()
        if symbol == "(":
            if self._peek() == "?":
                if self._text[self.at : self.at + 2] != "?:":
                    raise PatternError("has a group (?…) that is not supported")
                self.at += 2
            body = self.alternatives()
            if self._next() != ")":
                raise PatternError("has a group that is not closed")
            return f"({body})"
        if symbol == "[":
            return self._class()
        if symbol == ".":
            return ANY
        if symbol == "\\":
            return self._escape()
        if symbol in "*+?^$":
            raise PatternError(f"has a {symbol!r} where it is not supported")
        return _literal(symbol)

    def _escape(self) -> str:
        symbol = self._next()
        if symbol in CLASSES:
            return f"[{CLASSES[symbol]}]"
        if symbol.lower() in CLASSES:
            return f'[^{CLASSES[symbol.lower()]}"\\\\\\x7F\\x00-\\x1F]'
        if symbol.isalnum():
            raise PatternError(f"has \\{symbol}, which is not supported")
        return _literal(symbol)

    def _class(self) -> str:
        negated = self._peek() == "^"
        self.at += negated
        body = ""
        while self._peek() != "]":
            symbol = self._next()
            body += self._class_escape() if symbol == "\\" else _class_symbol(symbol)
        self.at += 1
        if not body:
            raise PatternError("has an empty class")
        return f'[^{body}"\\\\\\x7F\\x00-\\x1F]' if negated else f"[{body}]"

    def _class_escape(self) -> str:
        symbol = self._next()
        if symbol in CLASSES:
            return CLASSES[symbol]
        if symbol.isalnum():
            raise PatternError(f"has \\{symbol} in a class, which is not supported")
        return f"\\x{ord(symbol):02X}" if symbol.isascii() else symbol


def _class_symbol(symbol: str) -> str:
    """A character of a class; in GBNF some mean something there."""
    if symbol in '"[^' or ord(symbol) < FIRST_PRINTABLE:
        return f"\\x{ord(symbol):02X}"
    return symbol


def _literal(symbol: str) -> str:
    if symbol in {'"', "\\"}:  # a JSON string holds these escaped
        return f'"\\\\\\{symbol}"'
    if ord(symbol) < FIRST_PRINTABLE:
        raise PatternError("has a control character")
    return f'"{symbol}"'
