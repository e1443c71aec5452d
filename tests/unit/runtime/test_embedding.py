"""Vectors with a scripted model: a token's vector is its id and its position."""

import math
from collections.abc import Iterator

import pytest

from skerry_agent.runtime.embedding import Embedder, EmbedJob, Pooling
from skerry_agent.runtime.requests import EmbedRequest, GenerateRequest
from skerry_agent.runtime.wire import (
    Cancelled,
    Detokenize,
    Detokenized,
    Embedded,
    Failed,
    Progress,
    Tokenize,
    Tokenized,
)
from support.scripted_model import EngineBench, ScriptedEmbedModel, ScriptedModel


def _embed(
    *texts: list[int], pooling: Pooling = "mean", normalise: bool = False, truncate: bool = False
) -> list[list[float]]:
    class Model(ScriptedEmbedModel):
        pass

    Model.pooling = pooling
    embedder = Embedder(Model)
    request = EmbedRequest(("x",) * len(texts), normalise=normalise, truncate=truncate)
    embedder.put(EmbedJob(1, request, texts=list(texts)))
    said = None
    while embedder:
        said = embedder.step()
    assert said is not None
    message = said[1]
    assert isinstance(message, Embedded), message
    assert message.result.dimensions == 2
    assert message.result.prompt_tokens == sum(min(len(text), 8) for text in texts)
    return message.result.floats()


def test_the_mean_is_over_all_tokens_of_a_text_also_in_pieces() -> None:
    assert _embed([2, 4, 6, 8, 10], [7]) == [[6.0, 2.0], [7.0, 0.0]]


def test_a_model_may_take_the_first_or_the_last_token() -> None:
    assert _embed([2, 4, 6, 8], pooling="first") == [[2.0, 0.0]]
    assert _embed([2, 4, 6, 8], pooling="last") == [[8.0, 3.0]]


def test_vectors_are_normalised_when_asked() -> None:
    (vector,) = _embed([3, 3, 3, 3], normalise=True)
    assert math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-6)


def test_a_long_text_is_cut_only_when_asked() -> None:
    assert _embed([1] * 20, truncate=True) == [[1.0, 3.5]]
    embedder = Embedder(ScriptedEmbedModel)
    embedder.put(EmbedJob(1, EmbedRequest(("x",)), texts=[[1] * 20]))
    said = embedder.step()
    assert said is not None
    assert isinstance(said[1], Failed)
    assert (said[1].code, said[1].prompt_tokens, said[1].context_tokens) == ("prompt_too_long", 20, 8)


def test_a_cancelled_job_ends_before_its_next_piece() -> None:
    embedder = Embedder(ScriptedEmbedModel)
    job = EmbedJob(1, EmbedRequest(("x",)), texts=[[1] * 8])
    embedder.put(job)
    said = embedder.step()
    assert said is not None
    assert isinstance(said[1], Progress)
    job.cancelled = True
    assert embedder.step() == (job, Cancelled(1))
    assert embedder.step() is None


@pytest.fixture
def bench() -> Iterator[EngineBench]:
    made = EngineBench(ScriptedModel("hello"))
    yield made
    made.close()


def test_vectors_come_beside_answers_and_the_context_goes_at_rest(bench: EngineBench) -> None:
    before = ScriptedEmbedModel.made
    bench.engine.embed(1, EmbedRequest(("abcdefgh", "")))
    bench.engine.submit(2, GenerateRequest(prompt="abc"))
    end = bench.end(1)
    assert isinstance(end, Embedded)
    assert len(end.result.vectors) == 2
    bench.end(2)
    assert bench.text(2) == "hello"
    assert ScriptedEmbedModel.made == before + 1


def test_questions_about_tokens_are_answered(bench: EngineBench) -> None:
    bench.engine.ask(Tokenize(1, "hé", add_special=False))
    bench.engine.ask(Detokenize(2, tuple("hé".encode())))
    bench.engine.ask(Detokenize(3, (999,)))
    bench.wait(3)
    assert bench.end(1) == Tokenized(1, tuple("hé".encode()))
    assert bench.end(2) == Detokenized(2, "hé".encode())
    failed = bench.end(3)
    assert isinstance(failed, Failed)
    assert failed.code == "invalid_request"
