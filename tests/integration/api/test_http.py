"""What no client library sends: hostile headers, bodies and connections."""

import http.client
import json
import socket

import pytest

from support.fleet import Device


def post(device: Device, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, object], str]:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=30)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers.get("x-request-id", "")
    finally:
        connection.close()


def error_of(answer: dict[str, object]) -> str:
    error = answer["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8610", "", "127.0.0.1.evil.example"])
def test_another_host_header_is_refused(device: Device, host: str) -> None:
    status, answer, _ = post(device, "/v1/completions", b"{}", Host=host)
    assert status == 403
    assert "Host" in error_of(answer)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8610", "[::1]:8610"])
def test_own_host_names_pass(device: Device, host: str) -> None:
    status, _, _ = post(device, "/v1/completions", b"{}", Host=host)
    assert status == 400


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'"x"', b"\xff", b'{"model": 1}', b"[" * 5000])
def test_a_body_that_is_no_request_is_a_400(device: Device, body: bytes) -> None:
    status, answer, _ = post(device, "/v1/chat/completions", body)
    assert status == 400
    assert error_of(answer).startswith("request body")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_are_none_are_refused(device: Device, number: str) -> None:
    body = f'{{"model": "tiny", "prompt": "x", "temperature": {number}}}'
    status, answer, _ = post(device, "/v1/completions", body.encode())
    assert status == 400
    assert error_of(answer)


def test_a_body_over_the_limit_is_a_413(device: Device) -> None:
    status, answer, _ = post(device, "/v1/completions", b"x", **{"Content-Length": str(10**9)})
    assert status == 413
    assert "max_body_bytes" in error_of(answer)


def test_a_chunked_body_over_the_limit_is_a_413_too(device: Device) -> None:
    with socket.create_connection(("127.0.0.1", device.port), timeout=30) as raw:
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(80):
                raw.sendall(block)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b" 413 " in raw.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/v1", "/admin", "/v1/import_file", "/v1/activate", "/v1/token_create"])
def test_tcp_only_infers(device: Device, path: str) -> None:
    status, answer, _ = post(device, path, b"{}")
    assert status == 404
    assert error_of(answer)


def test_a_request_keeps_its_id(device: Device) -> None:
    _, _, own = post(device, "/v1/completions", b"{}", **{"X-Request-Id": "abc-1"})
    assert own == "abc-1"
    _, _, made = post(device, "/v1/completions", b"{}")
    assert len(made) == 16


def test_metrics_are_in_prometheus_format(device: Device) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    assert "# TYPE skerry_runtime_requests_total counter" in text


@pytest.mark.parametrize("raw", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_noise_on_the_port_harms_nobody(device: Device, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", device.port), timeout=30) as connection:
        connection.sendall(raw)
        connection.recv(4096)
    status, _, _ = post(device, "/v1/completions", b"{}")
    assert status == 400
