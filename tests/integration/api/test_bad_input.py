"""What no client should send, in both dialects: a clear error in the dialect's form, and the engine lives."""

import http.client
import json
from typing import Any

import pytest

from support.fleet import Device, http_json

DEEP = "[" * 2000 + "]" * 2000
MESSAGES = '"messages": [{"role": "user", "content": "hi"}]'
IMPOSSIBLE_FORMAT = '{"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": []}}}'
OPENAI = "/v1/chat/completions"
OLLAMA = "/api/chat"


def send(device: Device, path: str, body: bytes | str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
    try:
        data = body.encode() if isinstance(body, str) else body
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def message_of(path: str, answer: Any) -> str:
    assert set(answer) == {"error"}
    error = answer["error"]
    if path.startswith("/api/"):
        assert isinstance(error, str)
        return error
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def lives(device: Device) -> None:
    options = '"options": {"num_predict": 1}'
    status, answer = send(
        device, "/api/generate", f'{{"model": "tiny", "prompt": "a", "stream": false, {options}}}'
    )
    assert status == 200, answer
    assert not http_json(f"{device.url}/health")["runners"][0]["restarts"]


def both(fields: str, options: str = "") -> list[tuple[str, str]]:
    """The same request in both dialects; sampling parameters are Ollama's options."""
    base = f'"model": "tiny", {MESSAGES}, "stream": false'
    opened = f', "options": {{{options or fields}}}'
    return [(OPENAI, f"{{{base}, {fields}}}"), (OLLAMA, f"{{{base}{opened}}}")]


BAD: list[tuple[str, int, str, list[tuple[str, str]]]] = [
    ("wrong type", 400, "temperature", both('"temperature": "hot"')),
    ("NaN", 400, "JSON|malformed|invalid", both('"temperature": NaN')),
    ("infinity", 400, "temperature|out of range|number", both('"temperature": 1e999')),
    ("negative temperature", 400, "temperature", both('"temperature": -1')),
    ("top_p of 2", 400, "top_p", both('"top_p": 2')),
    ("a seed that is no number", 400, "seed", both('"seed": "x"')),
    ("10,000 stop strings", 400, "stop", both(f'"stop": {json.dumps(["x"] * 10_000)}')),
    ("an impossible schema", 400, "nothing can fit it", [
        (OPENAI, f'{{"model": "tiny", {MESSAGES}, "response_format": {IMPOSSIBLE_FORMAT}}}'),
        (OLLAMA, f'{{"model": "tiny", {MESSAGES}, "format": {{"properties": {{"a": {{"enum": []}}}}}}}}'),
    ]),
    ("an empty stop string", 400, "stop", both('"stop": [""]')),
    ("a penalty beyond the range", 400, "frequency_penalty", both('"frequency_penalty": 99')),
    ("a long that is none", 400, "top_k|integer|int", both('"top_k": 99999999999999999999999999')),
]  # fmt: skip

ALONE: list[tuple[str, int, str, str, str]] = [
    ("unknown model", 404, "tiny", OPENAI, f'{{"model": "gpt-4", {MESSAGES}}}'),
    ("unknown model", 404, "tiny", OLLAMA, f'{{"model": "llama3", {MESSAGES}}}'),
    ("no model", 400, "model", OPENAI, f"{{{MESSAGES}}}"),
    ("no model", 400, "model", OLLAMA, f"{{{MESSAGES}}}"),
    ("no messages", 400, "messages", OPENAI, '{"model": "tiny", "messages": []}'),
    ("messages that are none", 400, "messages", OLLAMA, '{"model": "tiny", "messages": "hi"}'),
    ("a lone surrogate", 400, "surrogate|JSON|invalid|malformed", OPENAI,
     '{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}'),
    ("a lone surrogate", 400, "surrogate|JSON|invalid|malformed", OLLAMA,
     '{"model": "tiny", "stream": false, "messages": [{"role": "user", "content": "\\ud800"}]}'),
    ("a role that is too long", 400, "role", OPENAI,
     f'{{"model": "tiny", "messages": [{{"role": "{"r" * 100}", "content": "x"}}]}}'),
    ("n of 0", 400, "n is 0", OPENAI, f'{{"model": "tiny", {MESSAGES}, "n": 0}}'),
    ("n of a million", 400, "n is 1000000", OPENAI, f'{{"model": "tiny", {MESSAGES}, "n": 1000000}}'),
    ("a broken grammar", 400, "grammar", OPENAI, f'{{"model": "tiny", {MESSAGES}, "grammar": "root ::= ("}}'),
    ("a grammar without root", 400, "grammar|root", OPENAI,
     f'{{"model": "tiny", {MESSAGES}, "grammar": "x ::= \\"a\\""}}'),
    ("a format that is none", 400, "format", OLLAMA, f'{{"model": "tiny", {MESSAGES}, "format": "yaml"}}'),
    ("a keep_alive that is none", 400, "keep_alive", OLLAMA,
     f'{{"model": "tiny", {MESSAGES}, "keep_alive": "soon"}}'),
    ("a token that is none", 400, "token", "/v1/completions", '{"model": "tiny", "prompt": [999999999]}'),
    ("a negative token", 400, "token", "/v1/completions", '{"model": "tiny", "prompt": [-1]}'),
    ("a bias for a token that is none", 400, "logit_bias|token", OPENAI,
     f'{{"model": "tiny", {MESSAGES}, "logit_bias": {{"999999999": 1}}}}'),
    ("arguments that are deep", 400, "body", OPENAI,
     f'{{"model": "tiny", "messages": {DEEP}}}'),
    ("a kwargs list", 400, "chat_template_kwargs", OPENAI,
     f'{{"model": "tiny", {MESSAGES}, "chat_template_kwargs": []}}'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "word", "path", "body"),
    [(status, word, path, body) for _, status, word, cases in BAD for path, body in cases]
    + [row[1:] for row in ALONE],
    ids=[f"{name} {path}" for name, _, _, cases in BAD for path, _ in cases]
    + [f"{row[0]} {row[3]}" for row in ALONE],
)
def test_bad_input_is_a_clear_error(device: Device, status: int, word: str, path: str, body: str) -> None:
    found, answer = send(device, path, body)
    message = message_of(path, answer)
    assert (found, any(part in message for part in word.split("|"))) == (status, True), message
    lives(device)


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
def test_a_prompt_beyond_the_context_names_both_numbers(device: Device, path: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "word " * 2000}]}
    for stream in (False, True):
        status, answer = send(device, path, json.dumps({**body, "stream": stream}))
        message = message_of(path, answer)
        assert status == 400
        assert "512" in message
        assert any(int(part) > 2000 for part in message.split() if part.isdigit())
    lives(device)


def test_a_context_of_ones_own_bounds_the_prompt_and_a_larger_one_loads_nothing_anew(device: Device) -> None:
    for num_ctx, expected in ((8, 400), (100_000, 200)):
        body = {"model": "tiny", "prompt": "one two three four five six seven", "stream": False}
        options = {"num_ctx": num_ctx, "num_predict": 1}
        status, answer = send(device, "/api/generate", json.dumps({**body, "options": options}))
        assert status == expected, answer
        assert status == 200 or "the context holds 8 " in message_of("/api/generate", answer)
    lives(device)


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, "/v1/completions", "/api/generate", "/v1/responses"])
def test_invalid_utf_8_is_refused(device: Device, path: str) -> None:
    message = b'{"role": "user", "content": "\xff"}'
    body = b'{"model": "tiny", "prompt": "\xff\xfe", "input": "\xff", "messages": [' + message + b"]}"
    status, answer = send(device, path, body)
    assert status == 400
    assert message_of(path, answer).startswith("request body")


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
def test_ten_megabytes_are_a_413(device: Device, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
    try:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(10_000_000))
        connection.endheaders(b"x")
        response = connection.getresponse()
        assert response.status == 413
        assert "max_body_bytes" in message_of(path, json.loads(response.read()))
    finally:
        connection.close()


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://evil.example:8610", "null"])
def test_a_web_page_from_elsewhere_is_refused(device: Device, path: str, origin: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
    try:
        connection.request("POST", path, b"{}", {"Origin": origin})
        response = connection.getresponse()
        assert response.status == 403
        assert "Origin" in message_of(path, json.loads(response.read()))
    finally:
        connection.close()


def test_a_page_of_this_device_may_ask(device: Device) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
    try:
        connection.request("GET", "/api/tags", headers={"Origin": "http://localhost:3000"})
        assert connection.getresponse().status == 200
    finally:
        connection.close()
