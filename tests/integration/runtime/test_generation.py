"""Answers of a tiny model through a real runner process."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    ChatMessage,
    FinishEvent,
    GenerateRequest,
    InvalidRequestError,
    ModelFile,
    NoChatTemplateError,
    PromptTooLongError,
    QueueFullError,
    Runner,
    RunnerOptions,
    RuntimeLimits,
    Sampling,
    TokenEvent,
)
from support.tiny_gguf import write_tiny_gguf

GREEDY = Sampling(temperature=0)
OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]


async def _run(runner: Runner, request: GenerateRequest) -> tuple[list[str], FinishEvent]:
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    texts = [event.text for event in events[:-1] if isinstance(event, TokenEvent)]
    assert len(texts) == len(events) - 1
    return texts, events[-1]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the counts of a runner have no events
            await asyncio.sleep(0.001)


@pytest.fixture
async def runner(open_runner: OpenRunner, tiny: ModelFile) -> AsyncIterator[Runner]:
    async with open_runner(tiny) as opened:
        yield opened


async def test_it_tells_what_it_loaded(runner: Runner) -> None:
    info = runner.info
    assert info.architecture == "llama"
    assert (info.context_tokens, info.train_context_tokens) == (256, 256)
    assert info.has_chat_template
    assert info.parameters > 100_000
    assert info.load_ms > 0
    assert runner.rss_bytes > 10_000_000


async def test_a_greedy_answer_streams_and_is_the_same_each_time(runner: Runner) -> None:
    request = GenerateRequest(prompt="Once upon a time", sampling=GREEDY, max_tokens=20)
    first, finish = await _run(runner, request)
    again, _ = await _run(runner, request)
    assert "".join(first) == "".join(again)
    assert len(first) > 10
    assert finish.reason == "length"
    assert finish.usage.completion_tokens == 20
    assert finish.timings.first_token_ms >= finish.timings.prompt_ms > 0
    assert finish.timings.decode_tokens_per_s > 0


async def test_a_seed_decides_a_sampled_answer(runner: Runner) -> None:
    async def answer(seed: int | None) -> str:
        sampling = Sampling(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
        return "".join((await _run(runner, GenerateRequest(prompt="a", sampling=sampling, max_tokens=30)))[0])

    assert await answer(7) == await answer(7)
    assert await answer(7) != await answer(8)
    assert await answer(None) != await answer(None)


async def test_a_repeat_penalty_changes_a_repetitive_answer(runner: Runner) -> None:
    plain = GenerateRequest(prompt="Hi", sampling=GREEDY, max_tokens=60)
    penalised = GenerateRequest(
        prompt="Hi", sampling=Sampling(temperature=0, repeat_penalty=5.0), max_tokens=60
    )
    assert (await _run(runner, plain))[0] != (await _run(runner, penalised))[0]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1e-30),
        Sampling(temperature=100.0, top_k=1),
        Sampling(top_p=0.0),
        Sampling(min_p=1.0),
        Sampling(top_k=2**31 - 1, min_p=0.0, top_p=1.0, seed=0),
        Sampling(repeat_penalty=10.0, frequency_penalty=2.0, presence_penalty=-2.0, repeat_window=65536),
        Sampling(repeat_penalty=0.01, repeat_window=1, seed=2**32 - 2),
    ],
)
async def test_values_at_the_edges_do_not_hurt_the_engine(runner: Runner, sampling: Sampling) -> None:
    _, finish = await _run(runner, GenerateRequest(prompt="Hi", sampling=sampling, max_tokens=8))
    assert finish.usage.completion_tokens > 0


async def test_a_stop_string_that_spans_tokens_ends_the_answer(runner: Runner) -> None:
    base = GenerateRequest(prompt="Hi", sampling=GREEDY, max_tokens=40)
    texts, _ = await _run(runner, base)
    border = len(texts[0] + texts[1] + texts[2])
    whole = "".join(texts)
    stop = whole[border - 2 : border + 2]
    request = GenerateRequest(prompt="Hi", sampling=GREEDY, max_tokens=40, stop=(stop,))
    stopped, finish = await _run(runner, request)
    assert "".join(stopped) == whole[: whole.index(stop)]
    assert finish.reason == "stop"
    assert finish.usage.completion_tokens < 40


async def test_chat_goes_through_the_models_template(runner: Runner) -> None:
    chat = GenerateRequest(messages=(ChatMessage("user", "Hi"),), sampling=GREEDY, max_tokens=10)
    raw = GenerateRequest(
        prompt="<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", sampling=GREEDY, max_tokens=10
    )
    chat_texts, chat_finish = await _run(runner, chat)
    raw_texts, raw_finish = await _run(runner, raw)
    # The raw prompt gets a begin-of-sequence token of its own if the model wants one; the text is the same.
    assert chat_finish.usage.prompt_tokens in {
        raw_finish.usage.prompt_tokens,
        raw_finish.usage.prompt_tokens - 1,
    }
    if chat_finish.usage.prompt_tokens == raw_finish.usage.prompt_tokens:
        assert chat_texts == raw_texts


async def test_an_answer_fills_the_context_and_no_more(runner: Runner) -> None:
    _, finish = await _run(runner, GenerateRequest(prompt="Hi " * 20, sampling=GREEDY))
    assert finish.reason == "length"
    assert finish.usage.prompt_tokens + finish.usage.completion_tokens == 256


async def test_prompts_around_the_size_of_a_batch_are_fine(open_runner: OpenRunner, tiny: ModelFile) -> None:
    async with open_runner(tiny, options=RunnerOptions(threads=1, batch_tokens=16)) as small_steps:
        for words in (14, 15, 16, 17, 31, 32, 33):
            _, finish = await _run(
                small_steps, GenerateRequest(prompt="the " * words, sampling=GREEDY, max_tokens=2)
            )
            assert finish.usage.completion_tokens == 2


async def test_too_long_a_prompt_is_refused_with_both_numbers_and_the_next_one_works(runner: Runner) -> None:
    with pytest.raises(PromptTooLongError) as caught:
        await _run(runner, GenerateRequest(prompt="sea rock " * 300))
    assert caught.value.prompt_tokens > 256
    assert caught.value.context_tokens == 256
    await _run(runner, GenerateRequest(prompt="Hi", max_tokens=1))


async def test_a_huge_prompt_without_spaces_does_not_end_the_process(runner: Runner) -> None:
    with pytest.raises(PromptTooLongError):
        await _run(runner, GenerateRequest(prompt="a" * 1_000_000))
    await _run(runner, GenerateRequest(prompt="Hi", max_tokens=1))


async def test_an_empty_prompt_is_answered(runner: Runner) -> None:
    _, finish = await _run(runner, GenerateRequest(prompt="", max_tokens=2))
    assert finish.usage.completion_tokens > 0


async def test_text_of_any_script_passes(runner: Runner) -> None:
    prompt = "naïve 日本語 🦭 \x00\x07 \u202e <|endoftext|>"
    _, finish = await _run(runner, GenerateRequest(prompt=prompt, max_tokens=2))
    assert finish.usage.prompt_tokens > 5


async def test_a_model_without_a_template_completes_and_does_not_chat(
    open_runner: OpenRunner, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "base.gguf", chat_template=False)
    async with open_runner(ModelFile(path, "0" * 64, "base@1")) as base:
        assert not base.info.has_chat_template
        with pytest.raises(NoChatTemplateError, match="no chat template; use completions"):
            await _run(base, GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
        await _run(base, GenerateRequest(prompt="Hi", max_tokens=1))


async def test_a_model_with_a_broken_template_completes_and_does_not_chat(
    open_runner: OpenRunner, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "broken.gguf", chat_template="{% for %}")
    async with open_runner(ModelFile(path, "0" * 64, "broken@1")) as broken:
        with pytest.raises(NoChatTemplateError, match="broken"):
            await _run(broken, GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
        await _run(broken, GenerateRequest(prompt="Hi", max_tokens=1))


async def test_a_template_that_refuses_the_roles_is_a_bad_request(
    open_runner: OpenRunner, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "strict.gguf", chat_template="{{ raise_exception('no system role') }}")
    async with open_runner(ModelFile(path, "0" * 64, "strict@1")) as strict:
        with pytest.raises(InvalidRequestError, match="no system role"):
            await _run(strict, GenerateRequest(messages=(ChatMessage("system", "Hi"),)))


async def test_a_smaller_context_than_the_models_is_kept_to(open_runner: OpenRunner, tiny: ModelFile) -> None:
    async with open_runner(tiny, options=RunnerOptions(context_tokens=40, threads=1)) as small:
        assert small.info.context_tokens == 40
        _, finish = await _run(small, GenerateRequest(prompt="Hi", sampling=GREEDY))
        assert finish.usage.prompt_tokens + finish.usage.completion_tokens == 40


async def test_a_cancelled_request_frees_the_engine_at_once(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    options = RunnerOptions(context_tokens=32768, threads=1)
    async with open_runner(long_tiny, options=options) as runner:
        async with aclosing(runner.generate(GenerateRequest(prompt="Hi", sampling=GREEDY))) as events:
            async for _ in events:
                break
        _, finish = await _run(runner, GenerateRequest(prompt="Hi", max_tokens=1))
        assert finish.timings.queue_ms < 1000
        assert runner.in_flight == 0


async def test_a_request_is_cancelled_during_prefill(open_runner: OpenRunner, long_tiny: ModelFile) -> None:
    options = RunnerOptions(context_tokens=32768, threads=1, batch_tokens=32)
    async with open_runner(long_tiny, options=options) as runner:
        # The first request's text says that the engine runs; the second one is then in the queue, and begins
        # when the first is cancelled.
        first = runner.generate(GenerateRequest(prompt="Hi", sampling=GREEDY))
        await anext(first)
        second = runner.generate(GenerateRequest(prompt="the " * 25_000, max_tokens=1))
        async with aclosing(second):
            waiting = asyncio.ensure_future(anext(second))
            await asyncio.sleep(0)
            await first.aclose()
            await _until(lambda: runner.in_flight == 1 and runner.queue_depth == 0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        began = time.monotonic()
        await _run(runner, GenerateRequest(prompt="Hi", max_tokens=1))
        assert time.monotonic() - began < 2


async def test_a_full_queue_refuses_and_a_freed_place_is_used(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    options = RunnerOptions(context_tokens=32768, threads=1, slots=1)
    async with open_runner(long_tiny, options=options, limits=RuntimeLimits(max_queue=0)) as runner:
        async with aclosing(runner.generate(GenerateRequest(prompt="Hi"))) as events:
            await anext(events)
            with pytest.raises(QueueFullError) as caught:
                await _run(runner, GenerateRequest(prompt="Hi"))
            assert caught.value.retry_after_s >= 1
        await _until(lambda: runner.in_flight == 0)
        await _run(runner, GenerateRequest(prompt="Hi", max_tokens=1))
