"""Trials on the real runtime, with a tiny model in a real child process."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    AdapterFile,
    ModelFile,
    ModelPool,
    RunnerOptions,
    RuntimeLimits,
    check_model_file,
)
from skerry_agent.runtime.memory_need import predict_need
from skerry_agent.trials import Perplexities, RunnerTrier
from skerry_protocol.acceptance import Acceptance, AcceptanceCheck, PerplexityLimit
from support.lora_gguf import write_lora_gguf
from support.tiny_gguf import write_tiny_gguf


def model(path: Path) -> ModelFile:
    return ModelFile(path, hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.stem}@1")


@pytest.fixture
async def pool() -> AsyncIterator[ModelPool]:
    one = ModelPool(check_header=check_model_file, options=RunnerOptions(context_tokens=128, threads=1))
    yield one
    await one.aclose()


def trier_for(pool: ModelPool, active: set[str]) -> RunnerTrier:
    async def active_files() -> set[str]:
        return active

    return RunnerTrier(pool, active_files, Perplexities(Path(tempfile.mkdtemp()) / "measured.json"))


async def test_a_model_that_answers_passes_and_then_serves_warm(pool: ModelPool, tmp_path: Path) -> None:
    new = model(write_tiny_gguf(tmp_path / "new.gguf"))
    trier = trier_for(pool, {new.sha256})
    outcome = await trier.try_model(new, Acceptance())
    assert outcome.passed
    assert outcome.figures["tokens_per_s"] > 0
    assert outcome.figures["rss_bytes"] > 0
    candidate = next(s.pid for s in pool.status() if s.role == "candidate")
    await trier.promote(new)
    async with pool.lease(new) as runner:
        assert runner.pid == candidate


async def test_a_base_model_is_tried_by_completion(pool: ModelPool, tmp_path: Path) -> None:
    base = model(write_tiny_gguf(tmp_path / "base.gguf", chat_template=False))
    assert (await trier_for(pool, set()).try_model(base, Acceptance())).passed


@pytest.mark.parametrize(
    ("acceptance", "code"),
    [
        (Acceptance(checks=(AcceptanceCheck(prompt="x", contains=("no such words",)),)), "check_failed"),
        (
            Acceptance(checks=(AcceptanceCheck(prompt="x", max_tokens=100),), deadline_s=0.0001),
            "trial_timeout",
        ),
        (Acceptance(checks=(AcceptanceCheck(prompt="long " * 500),)), "check_failed"),
        (Acceptance(checks=(AcceptanceCheck(prompt="x", regex="no such words"),)), "check_failed"),
    ],
)
async def test_a_model_that_does_not_hold_is_an_outcome_with_a_reason(
    pool: ModelPool, tmp_path: Path, acceptance: Acceptance, code: str
) -> None:
    new = model(write_tiny_gguf(tmp_path / "new.gguf"))
    trier = trier_for(pool, set())
    outcome = await trier.try_model(new, acceptance)
    assert not outcome.passed
    assert outcome.reason is not None
    assert outcome.reason.code == code
    await trier.discard(new)
    assert [s for s in pool.status() if s.role == "candidate"] == []


async def test_a_file_that_is_no_model_fails_its_trial(pool: ModelPool, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()[:200_000])
    outcome = await trier_for(pool, set()).try_model(model(path), Acceptance())
    assert outcome.reason is not None
    assert outcome.reason.code == "load_failed"


async def test_what_no_slot_serves_any_more_is_retired(pool: ModelPool, tmp_path: Path) -> None:
    old, new = (model(write_tiny_gguf(tmp_path / f"{n}.gguf", seed=n)) for n in (1, 2))
    async with pool.lease(old) as runner:
        exited = runner.exited
    trier = trier_for(pool, {new.sha256})
    await trier.try_model(new, Acceptance())
    await trier.promote(new)
    assert {s.sha256 for s in pool.status() if s.pid} == {old.sha256, new.sha256}
    await trier.settle()
    await exited
    assert {s.sha256 for s in pool.status() if s.pid} == {new.sha256}


async def test_promoting_without_a_warm_runner_does_nothing(pool: ModelPool, tmp_path: Path) -> None:
    new = model(write_tiny_gguf(tmp_path / "new.gguf"))
    await trier_for(pool, {new.sha256}).promote(new)
    async with pool.lease(new) as runner:
        assert runner.alive


def need(file: ModelFile) -> int:
    options = RunnerOptions(context_tokens=128, threads=1)
    return predict_need(check_model_file(file.path), file.path, options).total_bytes


async def test_where_both_do_not_fit_requests_wait_for_the_trial_and_are_then_answered(
    tmp_path: Path,
) -> None:
    old, new = (model(write_tiny_gguf(tmp_path / f"{n}.gguf", seed=n)) for n in (1, 2))
    pool = ModelPool(
        check_header=check_model_file,
        options=RunnerOptions(context_tokens=128, threads=1),
        limits=RuntimeLimits(memory_budget_bytes=int(1.6 * need(old))),
    )
    wrong = Acceptance(checks=(AcceptanceCheck(prompt="x", contains=("no such words",)),))
    trier = trier_for(pool, {old.sha256})
    try:
        async with pool.lease(old) as runner:
            exited = runner.exited
        tried = asyncio.create_task(trier.try_model(new, wrong, replaces=old))
        assert await exited == 0
        waiting = asyncio.create_task(pool.lease(old).__aenter__())
        assert not (await tried).passed
        assert [s.label for s in pool.status() if s.pid] == [new.label]
        assert not waiting.done()
        await trier.discard(new)
        assert (await waiting).model == old

        passed = await trier.try_model(new, Acceptance(), replaces=old)
        assert passed.passed
        await trier.promote(new)
        async with pool.lease(new) as serving:
            assert serving.model == new
    finally:
        await pool.aclose()


async def test_a_model_that_is_too_big_fails_its_trial_with_numbers(tmp_path: Path) -> None:
    new = model(write_tiny_gguf(tmp_path / "new.gguf"))
    pool = ModelPool(check_header=check_model_file, limits=RuntimeLimits(memory_budget_bytes=need(new) // 2))
    outcome = await trier_for(pool, set()).try_model(new, Acceptance())
    await pool.aclose()
    assert outcome.reason is not None
    assert outcome.reason.code == "no_memory"
    assert "can be had" in outcome.reason.message


@pytest.mark.parametrize(
    ("acceptance", "code"),
    [
        (Acceptance(min_tokens_per_s=1e6), "too_slow"),
        (Acceptance(max_first_token_ms=0.001), "first_token_late"),
        (Acceptance(max_memory_bytes=1000), "too_much_memory"),
        (Acceptance(perplexity=PerplexityLimit(max_perplexity=1.5)), "perplexity_too_high"),
        (Acceptance(checks=(AcceptanceCheck(prompt="x", json_schema={"type": "object"}),)), "check_failed"),
    ],
)
async def test_a_floor_or_ceiling_that_is_broken_fails_the_trial_with_the_figure(
    pool: ModelPool, tmp_path: Path, acceptance: Acceptance, code: str
) -> None:
    new = model(write_tiny_gguf(tmp_path / "new.gguf"))
    outcome = await trier_for(pool, set()).try_model(new, acceptance)
    assert outcome.reason is not None
    assert outcome.reason.code == code
    assert outcome.figures["tokens_per_s"] > 0


async def test_a_perplexity_is_compared_with_that_of_the_serving_version_which_is_measured_once(
    pool: ModelPool, tmp_path: Path
) -> None:
    old, same, other = (
        model(write_tiny_gguf(tmp_path / f"{n}.gguf", seed=seed, name=str(n)))
        for n, seed in enumerate((1, 1, 2))
    )
    trier = trier_for(pool, {old.sha256})
    bounded = Acceptance(perplexity=PerplexityLimit(max_increase_percent=0.001))
    outcome = await trier.try_model(same, bounded, replaces=old)
    assert outcome.passed
    assert outcome.figures["perplexity"] == outcome.figures["before_perplexity"] > 1
    await trier.discard(same)
    requests = pool.metrics().requests
    outcome = await trier.try_model(other, bounded, replaces=old)
    assert pool.metrics().requests == requests + 2  # a check and its own text: not that of the other again
    assert outcome.figures["perplexity"] != outcome.figures["before_perplexity"]
    worse = outcome.figures["perplexity"] > outcome.figures["before_perplexity"] * 1.00001
    assert outcome.passed != worse
    if worse:
        assert outcome.reason is not None
        assert outcome.reason.code == "perplexity_worse"


async def test_a_base_with_an_adapter_is_tried_as_the_pair_that_it_is(
    pool: ModelPool, tmp_path: Path
) -> None:
    base = model(write_tiny_gguf(tmp_path / "base.gguf"))
    path = write_lora_gguf(tmp_path / "lora.gguf", base.path, seed=3)
    data = path.read_bytes()
    adapter = AdapterFile(str(path), hashlib.sha256(data).hexdigest(), len(data))
    pair = replace(base, adapters=(adapter,))
    trier = trier_for(pool, {base.sha256})
    measured = Acceptance(perplexity=PerplexityLimit(max_increase_percent=1e9))
    outcome = await trier.try_model(pair, measured, replaces=base)
    assert outcome.passed, outcome.reason
    assert outcome.figures["perplexity"] != outcome.figures["before_perplexity"]
    await trier.promote(pair)
    again = await trier.try_model(base, measured, replaces=pair)
    assert again.figures["perplexity"] == outcome.figures["before_perplexity"]
    assert again.figures["before_perplexity"] == outcome.figures["perplexity"]
