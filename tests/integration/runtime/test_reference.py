"""Greedy answers against ``llama_cpp.Llama``, which computes one request after another."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from skerry_agent.runtime import GenerateRequest, ModelFile, Runner, Sampling, TokenEvent

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
PROMPTS = ["Once upon a time", "the sea and the rock", "house " * 30, "a", "naïve 日本 🦭"]

# In a process of its own, since llama.cpp may end it.
SCRIPT = """
import json, sys
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False)
answers = []
for prompt in json.loads(sys.argv[2]):
    tokens = model.tokenize(prompt.encode(), add_bos=True, special=True)
    found = []
    for token in model.generate(tokens, temp=0.0, repeat_penalty=1.0):
        if token == model.token_eos() or len(found) == 40:
            break
        found.append(token)
    answers.append(found)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def reference(tiny: ModelFile) -> list[list[int]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny.path), json.dumps(PROMPTS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return answers


async def test_a_greedy_answer_is_token_for_token_that_of_the_reference(
    open_runner: OpenRunner, tiny: ModelFile, reference: list[list[int]]
) -> None:
    async with open_runner(tiny) as runner:
        for prompt, expected in zip(PROMPTS, reference, strict=True):
            request = GenerateRequest(
                prompt=prompt, sampling=Sampling(temperature=0), max_tokens=40, logprobs=0
            )
            found: list[int] = []
            async for event in runner.generate(request):
                if isinstance(event, TokenEvent):
                    found += [each.chosen.token for each in event.logprobs]
            assert found == expected
