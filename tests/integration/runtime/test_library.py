"""What the real library knows, asked in a real child process."""

import pytest

from skerry_agent.runtime import library
from skerry_agent.runtime.library import LlamaLibrary


async def test_an_architecture_that_llama_cpp_knows_runs_and_another_does_not() -> None:
    known = LlamaLibrary()
    assert await known.problem("llama") is None
    assert await known.problem("gemma3") is None
    reason = await known.problem("no-such-architecture")
    assert reason is not None
    assert reason.code == "architecture_unsupported"
    assert "'no-such-architecture'" in reason.message


async def test_a_name_that_is_none_is_not_handed_to_the_library() -> None:
    reason = await LlamaLibrary().problem("../x\n")
    assert reason is not None
    assert reason.code == "architecture_unsupported"


@pytest.mark.parametrize(
    ("answer", "code"),
    [((-4, b""), "cpu_unsupported"), ((1, b""), None), ((None, b""), None)],
)
async def test_a_library_that_cannot_be_asked_is_left_to_the_trial_unless_the_processor_refused_it(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int | None, bytes], code: str | None
) -> None:
    async def ask(_architecture: str) -> tuple[int | None, bytes]:
        return answer

    monkeypatch.setattr(library, "_ask", ask)
    reason = await LlamaLibrary().problem("llama")
    assert (reason and reason.code) == code
