"""Breaking a step of the real llama.cpp off leaves nothing behind."""

import subprocess
import sys

from skerry_agent.runtime import ModelFile

# In a process of its own, since llama.cpp may end it.
SCRIPT = """
import pathlib, sys
from skerry_agent.runtime.engine_ports import Part, StepAbortedError
from skerry_agent.runtime.llama_context import ContextOptions, LlamaContext
from skerry_agent.runtime.llama_model import LlamaModel

context = LlamaContext(LlamaModel(pathlib.Path(sys.argv[1])), ContextOptions(256, 512, 256, 4, 4, 1))
tokens = [3 + i % 50 for i in range(200)]
context.decode([Part(0, 0, tokens, 1)])
expected = context.logits(199).copy()
context.cut(0, 0)  # beside other cells the sums would be rounded in another order
context.break_off()
try:
    context.decode([Part(0, 0, tokens, 1)])
except StepAbortedError:
    context.cut(0, 0)
    context.decode([Part(0, 0, tokens, 1)])
    print("the same" if (context.logits(199) == expected).all() else "something else")
else:
    print("it was not broken off")
"""


def test_a_step_that_was_broken_off_can_be_computed_again(tiny: ModelFile) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "the same"
