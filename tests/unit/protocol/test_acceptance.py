from typing import Any

import msgspec
import pytest

from skerry_protocol.acceptance import (
    Acceptance,
    AcceptanceCheck,
    PerplexityLimit,
    SoakTerms,
    acceptance_problem,
)
from skerry_protocol.errors import MalformedError
from skerry_protocol.manifest import Chunk, FileEntry, Manifest, Variant, decode_manifest, encode_manifest

ENTRY = FileEntry(sha256="a" * 64, length=1, chunks=(Chunk(0, 1, "b" * 64),))


def manifest(acceptance: Acceptance) -> Manifest:
    variants = (Variant(files=(ENTRY,)),)
    return Manifest(name="m", version="1", kind="model", variants=variants, acceptance=acceptance)


LATER = [
    Acceptance(min_tokens_per_s=3.0),
    Acceptance(max_first_token_ms=100),
    Acceptance(max_memory_bytes=1 << 30),
    Acceptance(perplexity=PerplexityLimit(max_increase_percent=5)),
    Acceptance(soak=SoakTerms(duration_s=60)),
    Acceptance(cpu_features=("avx2",)),
    Acceptance(checks=(AcceptanceCheck(prompt="x", json_schema={"type": "object"}),)),
]


def test_what_version_1_can_ask_stays_version_1() -> None:
    acceptance = Acceptance(checks=(AcceptanceCheck(prompt="x", regex="y", contains=("z",)),), deadline_s=9)
    data = encode_manifest(manifest(acceptance))
    assert decode_manifest(data).acceptance == acceptance
    assert decode_manifest(data).v == 1


def test_a_manifest_as_it_was_written_before_is_read() -> None:
    check = {"prompt": "x", "max_tokens": 16, "min_tokens": 1, "contains": [], "regex": None}
    written = {
        **msgspec.to_builtins(manifest(Acceptance())),
        "acceptance": {"checks": [check], "deadline_s": 300.0},
    }
    assert decode_manifest(msgspec.json.encode(written)).acceptance.checks == (AcceptanceCheck(prompt="x"),)


@pytest.mark.parametrize("acceptance", LATER)
def test_what_it_cannot_ask_makes_it_version_2_so_that_nobody_skips_it(acceptance: Acceptance) -> None:
    data = encode_manifest(manifest(acceptance))
    found = decode_manifest(data)
    assert (found.v, found.acceptance) == (2, acceptance)
    disguised = msgspec.json.encode({**msgspec.json.decode(data), "v": 1})
    with pytest.raises(MalformedError, match="format version 1 cannot ask this"):
        decode_manifest(disguised)


@pytest.mark.parametrize(
    ("acceptance", "problem"),
    [
        ({"checks": [{"prompt": "x", "min_tokens": 9, "max_tokens": 8}]}, "check 1 needs 1 <= min_tokens"),
        ({"checks": [{"prompt": "x"}] * 101}, "100 are the most"),
        ({"checks": [{"prompt": "x", "json_schema": {"format": "date"}}]}, "check 1: json_schema: $ uses"),
        ({"deadline_s": 0}, "deadline_s must be above 0"),
        ({"min_tokens_per_s": -1}, "min_tokens_per_s must be above 0"),
        ({"max_memory_bytes": 0}, "max_memory_bytes must be above 0"),
        ({"perplexity": {}}, "perplexity needs max_increase_percent"),
        ({"perplexity": {"max_increase_percent": -1}}, "perplexity.max_increase_percent must be from 0"),
        ({"soak": {"max_slowdown": 0.5}}, "soak.max_slowdown must be from 1"),
        ({"soak": {"duration_s": 1e9}}, "soak.duration_s must be from 0"),
    ],
)
def test_what_cannot_be_meant_is_named(acceptance: Any, problem: str) -> None:
    found = msgspec.convert(acceptance, Acceptance)
    assert problem in (acceptance_problem(found) or "")
    with pytest.raises(MalformedError, match="acceptance: "):
        decode_manifest(encode_manifest(manifest(found)))


def test_the_usual_acceptance_has_no_problem() -> None:
    assert acceptance_problem(Acceptance()) is None
