"""Greedy answers of real models: alone, in a crowd, and those of ``llama_cpp.Llama``.

Sums of many numbers round according to their order, and kernels choose the order by the size of the batch. So
two tokens that are all but equally likely may change places; nothing else may differ.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from skerry_agent.runtime import GenerateRequest, ModelFile, Runner, RunnerOptions, Sampling, TokenEvent
from support.real_models import BOTH

PROMPTS = [
    "Once upon a time",
    "def fib(n):\n",
    "Water boils at",
    "The capital of Finland is",
    "apple river, " * 8,
    "Write a story about a dog. " * 4,
]
TOKENS = 24
CROWD_LOGPROB = 0.05
"""Two tokens whose log-probabilities are as close may change places between a small batch and a large one."""
KERNEL_LOGPROB = 0.5
"""The same between attention with and without llama.cpp's flash kernel, which rounds to 16 bits midway."""

REFERENCE = """
import json, sys
from llama_cpp import Llama
answers = {}
for flash in (True, False):
    model = Llama(sys.argv[1], n_ctx=512, n_threads=2, n_threads_batch=2, verbose=False, flash_attn=flash)
    answers[flash] = []
    for prompt in json.loads(sys.argv[2]):
        model.reset()
        found = []
        tokens = model.tokenize(prompt.encode(), add_bos=True, special=True)
        for token in model.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token == model.token_eos() or len(found) == int(sys.argv[3]):
                break
            found.append(token)
        answers[flash].append(found)
print(json.dumps([answers[True], answers[False]]))
"""


@dataclass
class Answer:
    """Token ids, and at each place the log-probabilities of the likeliest ones."""

    tokens: list[int]
    likely: list[dict[int, float]]

    def gap(self, other: list[int]) -> float:
        """How much likelier this answer's token is than the other's where they part; 0 where they do not."""
        for place, (mine, theirs) in enumerate(zip(self.tokens, other, strict=False)):
            if mine != theirs:
                likely = self.likely[place]
                return likely[mine] - likely.get(theirs, float("-inf"))
        return 0.0


async def _ask(runner: Runner, prompt: str, *, share: bool) -> Answer:
    answer = Answer([], [])
    request = GenerateRequest(
        prompt=prompt,
        sampling=Sampling(temperature=0),
        max_tokens=TOKENS,
        logprobs=5,
        prefix_cache=share,
    )
    async for event in runner.generate(request):
        if isinstance(event, TokenEvent):
            answer.tokens += [each.chosen.token for each in event.logprobs]
            answer.likely += [{c.token: c.logprob for c in each.top} for each in event.logprobs]
    return answer


def _reference(model: ModelFile) -> list[list[list[int]]]:
    done = subprocess.run(
        [sys.executable, "-c", REFERENCE, str(model.path), json.dumps(PROMPTS), str(TOKENS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answers: list[list[list[int]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("model", BOTH)
async def test_greedy_answers_differ_only_where_tokens_are_all_but_equally_likely(model: ModelFile) -> None:
    runner = await Runner.start(model, options=RunnerOptions(context_tokens=512, kv_tokens=600, slots=4))
    try:
        alone = [await _ask(runner, prompt, share=False) for prompt in PROMPTS]
        # Some share prefixes with those before, some wait, and the cache is too small for all.
        crowd = await asyncio.gather(*(_ask(runner, prompt, share=True) for prompt in PROMPTS * 2))
        assert runner.engine.prefix_hits > 0
    finally:
        await runner.stop()
    flash, plain = await asyncio.to_thread(_reference, model)
    assert max(a.gap(b.tokens) for a, b in zip(alone * 2, crowd, strict=True)) <= CROWD_LOGPROB
    assert max(a.gap(b) for a, b in zip(alone, flash, strict=True)) <= CROWD_LOGPROB
    assert max(a.gap(b) for a, b in zip(alone, plain, strict=True)) <= KERNEL_LOGPROB
