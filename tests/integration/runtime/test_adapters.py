"""Real adapters on a real model: greedy answers against ``llama_cpp.Llama`` with the same adapter."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    AdapterFile,
    EmbedRequest,
    GenerateRequest,
    GenerationFailedError,
    ModelFile,
    ModelPool,
    Runner,
    RunnerOptions,
    Sampling,
    TokenEvent,
    check_model_file,
)
from support.lora_gguf import write_lora_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
PROMPTS = ["Once upon a time", "the sea and the rock", "house " * 30]

# In a process of its own, since llama.cpp may end it.
SCRIPT = """
import json, sys
from llama_cpp import Llama
base, prompts, *loras = sys.argv[1:]
answers = []
for lora in (None, *loras):
    model = Llama(base, lora_path=lora, n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False)
    for prompt in json.loads(prompts):
        tokens, found = model.tokenize(prompt.encode(), add_bos=True, special=True), []
        for token in model.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token == model.token_eos() or len(found) == 24:
                break
            found.append(token)
        answers.append(found)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, tiny: ModelFile) -> list[AdapterFile]:
    folder = tmp_path_factory.mktemp("adapters")
    paths = [write_lora_gguf(folder / f"{seed}.gguf", tiny.path, seed=seed, half=True) for seed in (1, 2)]
    return [adapter_file(path) for path in paths]


def adapter_file(path: Path) -> AdapterFile:
    data = path.read_bytes()
    return AdapterFile(str(path), sha256(data).hexdigest(), len(data))


@pytest.fixture(scope="module")
def reference(tiny: ModelFile, adapters: list[AdapterFile]) -> list[list[int]]:
    """Answers to each prompt: without adapter, with the first, with the second."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny.path), json.dumps(PROMPTS), *(a.path for a in adapters)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return answers


async def tokens_of(runner: Runner, prompt: str, *adapters: AdapterFile) -> list[int]:
    request = GenerateRequest(
        prompt=prompt, sampling=Sampling(temperature=0), max_tokens=24, logprobs=0, adapters=adapters
    )
    found: list[int] = []
    async for event in runner.generate(request):
        if isinstance(event, TokenEvent):
            found += [each.chosen.token for each in event.logprobs]
    return found


async def test_mixed_traffic_gets_the_answers_of_the_reference_each_with_its_adapter(
    open_runner: OpenRunner, tiny: ModelFile, adapters: list[AdapterFile], reference: list[list[int]]
) -> None:
    groups: list[tuple[AdapterFile, ...]] = [(), (adapters[0],), (adapters[1],)]
    async with open_runner(tiny) as runner:
        asked = [(prompt, group) for group in groups for prompt in PROMPTS]
        one_by_one = [await tokens_of(runner, prompt, *group) for prompt, group in asked]
        at_once = await asyncio.gather(*(tokens_of(runner, prompt, *group) for prompt, group in asked))

    assert one_by_one == reference
    assert at_once == reference
    assert len({tuple(answer) for answer in reference}) == len(reference)


async def test_two_adapters_at_once_are_not_one_of_them(
    open_runner: OpenRunner, tiny: ModelFile, adapters: list[AdapterFile], reference: list[list[int]]
) -> None:
    async with open_runner(tiny) as runner:
        both = await tokens_of(runner, PROMPTS[0], *adapters)
        again = await tokens_of(runner, PROMPTS[0], *adapters)

    assert both == again
    assert both not in reference


async def test_vectors_differ_with_an_adapter(
    open_runner: OpenRunner, tiny: ModelFile, adapters: list[AdapterFile]
) -> None:
    async with open_runner(tiny) as runner:
        plain = await runner.embed(EmbedRequest(inputs=("the sea",)))
        adapted = await runner.embed(EmbedRequest(inputs=("the sea",), adapters=(adapters[0],)))
        after = await runner.embed(EmbedRequest(inputs=("the sea",)))

    assert plain.vectors == after.vectors
    assert adapted.vectors != plain.vectors


async def test_many_adapters_come_and_go_on_one_runner(
    open_runner: OpenRunner, tiny: ModelFile, tmp_path: Path, reference: list[list[int]]
) -> None:
    many = [
        adapter_file(write_lora_gguf(tmp_path / f"{n}.gguf", tiny.path, seed=10 + n, targets=["attn_q"]))
        for n in range(12)
    ]
    async with open_runner(tiny) as runner:
        first = [await tokens_of(runner, PROMPTS[0], adapter) for adapter in many]
        second = [await tokens_of(runner, PROMPTS[0], adapter) for adapter in many]

        assert first == second
        assert await tokens_of(runner, PROMPTS[0]) == reference[0]


@pytest.mark.parametrize("spoil", ["gone", "changed", "of another model"])
async def test_an_unusable_adapter_leaves_the_runner_and_its_base_alone(
    open_runner: OpenRunner, tiny: ModelFile, tmp_path: Path, spoil: str, reference: list[list[int]]
) -> None:
    path = write_lora_gguf(tmp_path / "a.gguf", tiny.path)
    adapter = adapter_file(path)
    if spoil == "gone":
        path.unlink()
    elif spoil == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\7")
    else:
        path = write_lora_gguf(tmp_path / "b.gguf", tiny.path, overrides={"general.architecture": "gemma3"})
        adapter = adapter_file(path)
    async with open_runner(tiny) as runner:
        with pytest.raises(GenerationFailedError, match="adapter"):
            await tokens_of(runner, PROMPTS[0], adapter)
        assert runner.alive
        assert await tokens_of(runner, PROMPTS[0]) == reference[0]


@pytest.fixture
async def pool() -> AsyncIterator[ModelPool]:
    made = ModelPool(check_header=check_model_file, options=RunnerOptions(threads=1))
    yield made
    await made.aclose()


async def test_base_and_adapter_share_one_runner_and_its_memory_is_counted(
    pool: ModelPool, tiny: ModelFile, adapters: list[AdapterFile], reference: list[list[int]]
) -> None:
    big = msgspec_replace(adapters[0], length=50_000_000)
    adapted = replace(tiny, adapters=(big,))
    async with pool.lease(tiny) as plain:
        before = pool.status()[0].memory_bytes
        async with pool.lease(adapted) as runner:
            assert runner is plain
            assert pool.status()[0].memory_bytes >= before + 50_000_000
        answer = await tokens_of(plain, PROMPTS[0], adapters[0])
    assert answer == reference[len(PROMPTS)]
    assert len(pool.status()) == 1


def msgspec_replace(adapter: AdapterFile, *, length: int) -> AdapterFile:
    return AdapterFile(adapter.path, adapter.sha256, length)
