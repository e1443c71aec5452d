"""The short way to the likeliest token chooses as llama.cpp's own chain of samplers does."""

import json
import subprocess
import sys

from skerry_agent.runtime import ModelFile

# In a process of its own, since llama.cpp may end it.
SCRIPT = """
import json, pathlib, sys
from skerry_agent.runtime.engine_ports import Part
from skerry_agent.runtime.llama_context import ContextOptions, LlamaContext
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.requests import GenerateRequest, Sampling

model = LlamaModel(pathlib.Path(sys.argv[1]))
context = LlamaContext(model, ContextOptions(256, 512, 256, 4, 4, 1))
context.decode([Part(0, 0, [3 + i % 50 for i in range(20)], 1)])
before = context.logits(19).copy()
first, second = (int(token) for token in (-before).argsort()[:2])
found = {}
for name, biases, ignore in (
    ("plain", (), False),
    ("endless", (), True),
    ("banned", ((first, -100.0),), False),
    ("lifted", ((40, 1000.0),), True),
    ("both", ((first, -100.0), (second, -100.0)), True),
):
    sampling = Sampling(temperature=0, logit_bias=biases)
    sampler = context.sampler(GenerateRequest(prompt="a", sampling=sampling, ignore_eos=ignore), [1])
    short = sampler.next(19)
    sampler._simply_likeliest = False
    found[name] = (short, sampler.next(19))
    sampler.close()
found["expected"] = (first, second)
found["unchanged"] = bool((context.logits(19) == before).all())
print(json.dumps(found))
"""


def test_the_likeliest_token_is_that_of_the_chain_and_the_logits_stay_as_they_were(tiny: ModelFile) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    first, second = found.pop("expected")
    assert found.pop("unchanged")
    assert all(short == chain for short, chain in found.values())
    assert found["plain"][0] == first
    assert found["banned"][0] == second
    assert found["lifted"][0] == 40
    assert found["both"][0] not in {first, second}
