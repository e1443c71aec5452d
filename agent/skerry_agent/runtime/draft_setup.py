"""Loads a draft model beside the model that it guesses for; for the runner process only."""

from pathlib import Path

from skerry_agent.runtime.draft import CHUNK_TOKENS, Draft
from skerry_agent.runtime.llama_context import ContextOptions, LlamaContext
from skerry_agent.runtime.llama_model import LlamaModel, LoadRefusedError
from skerry_agent.runtime.speculation import MAX_JOBS


class DraftRefusedError(Exception):
    """This model cannot guess for that one; the message says why."""


def load_draft(path: Path, model: LlamaModel, *, context_tokens: int, threads: int) -> Draft[LlamaContext]:
    """Load a draft model.

    Args:
        path: Its file.
        model: What it is to guess for.
        context_tokens: The longest text of that.
        threads: Threads to begin with.

    Raises:
        DraftRefusedError: It does not load, or is of another kind.
    """
    try:
        second = LlamaModel(path)
        _check(second, model)
        context_tokens = min(context_tokens, second.train_context_tokens or context_tokens)
        options = ContextOptions(
            context_tokens=context_tokens,
            kv_tokens=context_tokens * MAX_JOBS,
            batch_tokens=CHUNK_TOKENS,
            sequences=MAX_JOBS,
            outputs=MAX_JOBS,
            threads=threads,
        )
        context = LlamaContext(second, options)
    except LoadRefusedError as error:
        raise DraftRefusedError(str(error)) from error
    return Draft(context)


def _check(second: LlamaModel, model: LlamaModel) -> None:
    if second.unshareable is not None:
        raise DraftRefusedError(second.unshareable)
    if second.vocabulary != model.vocabulary:
        raise DraftRefusedError(
            f"it knows {second.vocabulary} tokens and the model {model.vocabulary}: these have to be the same"
        )
    differing = sum(second.piece(token) != model.piece(token) for token in range(model.vocabulary))
    if differing:
        raise DraftRefusedError(
            f"{differing} of its tokens differ from the model's: these have to be the same"
        )
