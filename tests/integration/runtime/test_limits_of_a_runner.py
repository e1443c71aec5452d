"""What a runner may take of the device, with real processes."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    ChatMessage,
    EmbedRequest,
    FinishEvent,
    GenerateRequest,
    GenerationFailedError,
    ModelFile,
    NoChatTemplateError,
    PromptTooLongError,
    Runner,
    RunnerOptions,
)
from support.tiny_gguf import write_tiny_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
MiB = 1024 * 1024


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def _finish(runner: Runner, request: GenerateRequest) -> FinishEvent:
    events = [event async for event in runner.generate(request)]
    assert isinstance(events[-1], FinishEvent)
    return events[-1]


async def test_niceness_threads_and_cache_are_what_the_options_say(
    open_runner: OpenRunner, tiny: ModelFile
) -> None:
    options = RunnerOptions(
        context_tokens=64, kv_tokens=700, threads=1, nice=7, max_celsius=150.0, adapt_threads=False
    )
    async with open_runner(tiny, options=options) as runner:
        await _finish(runner, GenerateRequest(prompt="Hi", max_tokens=2))
        assert os.getpriority(os.PRIO_PROCESS, runner.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7
        assert runner.info is not None
        assert runner.info.context_tokens == 64
        assert 700 <= runner.engine.kv_tokens <= 768  # llama.cpp rounds up
        assert runner.engine.threads == 1


async def test_the_kernel_would_rather_kill_a_runner_than_the_daemon(
    open_runner: OpenRunner, tiny: ModelFile
) -> None:
    async with open_runner(tiny) as runner:
        assert int(_proc(runner.pid, "oom_score_adj")) > int(_proc(os.getpid(), "oom_score_adj"))


async def test_a_request_that_would_take_too_much_memory_fails_alone(
    open_runner: OpenRunner, tmp_path: Path
) -> None:
    greedy = "{% set ns = namespace(x='a' * 100000) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}"
    path = write_tiny_gguf(tmp_path / "greedy.gguf", chat_template=greedy + "{% endfor %}{{ ns.x }}")
    model = ModelFile(path, "4" * 64, "greedy@1")
    async with open_runner(model, options=RunnerOptions(threads=1, max_growth_bytes=64 * MiB)) as runner:
        messages = GenerateRequest(messages=(ChatMessage("user", "Hi"),), max_tokens=2)
        with pytest.raises((NoChatTemplateError, GenerationFailedError), match="MemoryError"):
            await _finish(runner, messages)
        status = _proc(runner.pid, "status")
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak < 400 * 1024  # KiB; without a limit it would go on to gigabytes
        await _finish(runner, GenerateRequest(prompt="Hi", max_tokens=2))
        assert (await runner.embed(EmbedRequest(("some text",)))).dimensions > 0


async def test_a_request_can_ask_for_less_context_than_there_is(
    open_runner: OpenRunner, tiny: ModelFile
) -> None:
    async with open_runner(tiny) as runner:
        prompt = "the sea and the rock"
        count = len(await runner.tokenize(prompt, add_special=True))
        end = await _finish(runner, GenerateRequest(prompt=prompt, context_tokens=count + 3, ignore_eos=True))
        assert (end.reason, end.usage.completion_tokens) == ("length", 3)
        with pytest.raises(PromptTooLongError) as caught:
            await _finish(runner, GenerateRequest(prompt=prompt, context_tokens=count))
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (count, count)
        whole = await _finish(runner, GenerateRequest(prompt=prompt, context_tokens=10_000, ignore_eos=True))
        assert whole.usage.prompt_tokens + whole.usage.completion_tokens == 256


async def test_a_template_that_does_not_end_holds_up_others_for_a_moment_only(
    open_runner: OpenRunner, tmp_path: Path
) -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    path = write_tiny_gguf(tmp_path / "endless.gguf", chat_template=endless, context=8192, eos_lean=-100.0)
    model = ModelFile(path, "5" * 64, "endless@1")
    options = RunnerOptions(threads=1, context_tokens=8192)
    async with open_runner(model, options=options) as runner:
        chat = GenerateRequest(messages=(ChatMessage("user", "Hi"),), max_tokens=2)
        async with aclosing(runner.generate(GenerateRequest(prompt="Hi"))) as running:
            await anext(running)
            asked = asyncio.ensure_future(_finish(runner, chat))
            behind = asyncio.ensure_future(_finish(runner, GenerateRequest(prompt="Hi", max_tokens=2)))
            await anext(running)
            assert not asked.done()  # what runs goes on while the template is at it
            with pytest.raises(NoChatTemplateError, match="did not end within 3 s"):
                await asked
            assert (await behind).usage.completion_tokens == 2
        assert runner.alive
