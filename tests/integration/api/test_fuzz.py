"""Requests made from our own OpenAPI document: no 500, and every answer as the document says.

``SKERRY_FUZZ_EXAMPLES`` sets how many for each operation, ``SKERRY_FUZZ_DEVICE`` sends them to a real agent
with a tiny model; ``make test-fuzz`` does both.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from skerry_agent.api.openapi import openapi_document
from support.fleet import Device, http_json
from support.local_api import LocalApi
from support.tiny_gguf import write_tiny_gguf

EXAMPLES = int(os.environ.get("SKERRY_FUZZ_EXAMPLES", "12"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    """An API and a token for it: over a runtime that says what it likes, or over a real engine."""
    with tempfile.TemporaryDirectory() as folder:
        if os.environ.get("SKERRY_FUZZ_DEVICE"):
            yield from _real(Path(folder))
        else:
            yield from _scripted(Path(folder))


def _scripted(folder: Path) -> Iterator[tuple[str, str]]:
    api = LocalApi.in_folder(folder)
    _, secret = asyncio.run(api.tokens.create("fuzz"))
    with api.served() as url:
        yield url, secret


def _real(folder: Path) -> Iterator[tuple[str, str]]:
    device = Device.in_folder(folder, "box", {"SKERRY_AGENT_RUNTIME__THREADS": "1"})
    device.start()
    try:
        device.run("import", write_tiny_gguf(folder / "tiny.gguf"), "--name", "mine@1")
        device.run("activate", "mine@1")
        yield device.url, device.run("token", "create").strip()
        assert not any(runner["restarts"] for runner in http_json(f"{device.url}/health")["runners"])
    finally:
        device.service.stop()


def _document() -> dict[str, Any]:
    """Our document, with names of models that are worth asking for: random ones only ever find a 404."""
    document: dict[str, Any] = json.loads(openapi_document())
    for name, schema in document["components"]["schemas"].items():
        if "model" in schema.get("properties", {}) and name not in ("CreateRequest", "DeleteRequest"):
            schema["properties"]["model"] = {"type": "string", "enum": ["mine", "mine:1", "nobody"]}
    return document


SCHEMA = schemathesis.openapi.from_dict(_document())
OPERATIONS: list[APIOperation[Any, Any, Any, Any]] = [
    found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)
]


CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    # What has no body cannot be wrong.
    if operation.body or mode is GenerationMode.POSITIVE
]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_every_answer_is_as_the_document_says(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, served: tuple[str, str]
) -> None:
    url, secret = served
    headers = {"Authorization": f"Bearer {secret}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def send(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=url, session=session, headers=headers, checks=CHECKS)

    with requests.Session() as session:
        send()
