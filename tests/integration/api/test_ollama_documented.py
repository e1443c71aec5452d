"""The requests of Ollama's API documentation, as curl sends them, against answers of the documented shape.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md. Models are renamed to ones that are here.
"""

import asyncio
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.local_api import LocalApi

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("ollama_documented.json").read_text())
SERVED = [row for row in ROWS if "fields" in row]
REFUSED = [row for row in ROWS if "refused" in row]


class Curl:
    """Sends what curl would, with a token where the device wants one."""

    def __init__(self, url: str, secret: str) -> None:
        self.host = url.removeprefix("http://")
        # What curl -d sends without -H: a form, by its header.
        self._headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "curl/7.88.1",
        }

    def __call__(self, target: str, body: dict[str, Any] | None = None) -> tuple[int, list[dict[str, Any]]]:
        method, path = target.split()
        connection = http.client.HTTPConnection(self.host, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, [json.loads(line) for line in response.read().splitlines()]
        finally:
            connection.close()


@pytest.fixture
def curl(tmp_path: Path) -> Iterator[Curl]:
    api = LocalApi.in_folder(tmp_path)
    _, secret = asyncio.run(api.tokens.create("curl"))
    with api.served() as url:
        yield Curl(url, secret)


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row["title"])
def test_a_documented_request_gets_an_answer_of_the_documented_shape(curl: Curl, row: dict[str, Any]) -> None:
    status, lines = curl(row["request"], row["body"])
    assert status == 200, lines
    assert sorted(lines[-1] if lines else ()) == row["fields"]
    if (row["body"] or {}).get("stream") is False:
        assert len(lines) == 1
    if "done" in row["fields"]:
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["title"])
def test_a_documented_request_that_cannot_be_served_is_refused_by_its_name(
    curl: Curl, row: dict[str, Any]
) -> None:
    status, [answer] = curl(row["request"], row["body"])
    assert status == 400
    assert set(answer) == {"error"}
    assert row["refused"] in answer["error"]


def test_the_root_says_that_somebody_is_there(curl: Curl) -> None:
    connection = http.client.HTTPConnection(curl.host, timeout=20)
    try:
        for method in ("HEAD", "GET"):
            connection.request(method, "/")
            response = connection.getresponse()
            assert response.status == 200
            assert response.read() in (b"", b"Skerry is running")
    finally:
        connection.close()


def test_blobs_that_are_here_are_known_and_none_is_taken(curl: Curl) -> None:
    _, [tags] = curl("GET /api/tags")
    digest = tags["models"][0]["digest"]
    assert curl(f"HEAD /api/blobs/sha256:{digest}")[0] == 200
    assert curl(f"HEAD /api/blobs/sha256:{'0' * 64}")[0] == 404
    status, [answer] = curl(f"POST /api/blobs/sha256:{'0' * 64}", {})
    assert status == 400
    assert "skerry-agent import" in answer["error"]
