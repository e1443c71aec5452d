"""The measuring, with an API that a test wrote."""

import json
from typing import Any

import pytest

from skerry_agent.cli.bench_show import bench_json, show_bench
from skerry_agent.cli.benching import measure
from skerry_agent.errors import UsageError

ENTRY: dict[str, Any] = {
    "artifact": "smol@2",
    "sha256": "ab",
    "meta": {
        "vocabulary_size": 1000,
        "parameters": 135_000_000,
        "weights_bytes": 98_000_000,
        "quantization": "Q4_1",
    },
}


class FakeApi:
    """Reads 100 and writes 10 tokens a second; each round is a little faster."""

    def __init__(self, vocabulary: object = 1000) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._vocabulary = vocabulary

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/v1/models/smol@2"
        return {"meta": {"vocabulary_size": self._vocabulary}}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/v1/completions"
        self.bodies.append(body)
        size = len(body["prompt"]) if isinstance(body["prompt"], list) else 3
        faster = 1 + len(self.bodies) / 100
        return {
            "usage": {"prompt_tokens": size, "completion_tokens": body["max_tokens"]},
            "timings": {"prompt_ms": size * 10.0 / faster, "decode_tokens_per_s": 10.0 * faster},
        }


def test_reading_and_writing_are_measured_after_a_warm_up() -> None:
    api = FakeApi()
    read, write = measure(api, "smol@2", prompts=[64], answers=[16], rounds=3)
    assert (read.test, read.tokens, len(read.rates)) == ("pp64", 64, 3)
    assert read.median == pytest.approx(103.0)
    assert read.spread == pytest.approx(1.0)
    assert (write.test, write.tokens) == ("tg16", 16)
    assert write.median == pytest.approx(10.7)
    assert len(api.bodies) == 8


def test_no_prompt_was_read_before_and_no_answer_ends_early() -> None:
    api = FakeApi()
    measure(api, "smol@2", prompts=[64], answers=[16], rounds=1)
    first, second, write = api.bodies[0], api.bodies[1], api.bodies[2]
    assert first["prompt"] != second["prompt"]
    assert first["cache_prompt"] is False
    assert all(250 <= token < 500 for token in first["prompt"])
    assert write["ignore_eos"] is True


def test_a_model_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(UsageError, match="vocabulary"):
        measure(FakeApi(None), "smol@2", prompts=[1], answers=[], rounds=1)


def test_results_are_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    results = measure(FakeApi(), "smol@2", prompts=[64], answers=[16], rounds=2)
    show_bench(ENTRY, results)
    shown = capsys.readouterr().out
    assert "pp64" in shown
    assert "±" in shown
    document = json.loads(bench_json(ENTRY, results))
    assert [test["test"] for test in document["tests"]] == ["pp64", "tg16"]
    assert len(document["tests"][0]["rounds"]) == 2
