"""Scores a text beside a parent, and asks questions: ``python -m …eval_child``."""

import itertools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skerry_controller.errors import UsageError
from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.library import Figure
from skerry_controller.workshop.measuring.eval_job import EvalJob, EvalResult
from skerry_controller.workshop.measuring.llama import LlamaContext, LlamaModel
from skerry_controller.workshop.measuring.questions import MAX_ANSWER_TOKENS, is_right, prompt_of
from skerry_controller.workshop.measuring.windows import (
    Estimate,
    Window,
    cut_windows,
    estimate,
    estimate_share,
    quantile,
)

STEP_TOKENS = 64
"""Each token of a step has a row of logits: 64 MiB of them with a vocabulary of 262,144."""
QUESTION_TOKENS = 512


def measure(job: EvalJob, parent: Parent) -> EvalResult:
    """Measure it."""
    model = LlamaModel(Path(job.path))
    against = LlamaModel(Path(job.parent)) if job.parent else None
    tokens = model.tokenize(job.text, add_special=False)
    if against is not None and (
        against.vocabulary != model.vocabulary or against.tokenize(job.text, add_special=False) != tokens
    ):
        raise UsageError(
            f"the two models read the text as other tokens (vocabularies of {model.vocabulary} and "
            f"{against.vocabulary}): their probabilities cannot be compared; leave --against out"
        )
    begin = model.begin_token if model.begins else None
    windows = cut_windows(tokens, job.window, begin=begin, most=job.most)
    contexts = [_context(each, job) for each in (model, against) if each is not None]
    scores = _Scores(model)
    for number, window in enumerate(windows):
        parent.progress("scoring the text", number, len(windows))
        _score(window, contexts, scores)
    for context in contexts:
        context.close()
    return EvalResult(scores.figures(), _ask(model, job, parent))


def _score(window: Window, contexts: list[LlamaContext], scores: "_Scores") -> None:
    for context in contexts:
        context.cut(0)
    for start in range(0, len(window.tokens), STEP_TOKENS):
        piece = window.tokens[start : start + STEP_TOKENS]
        for context in contexts:
            context.read(piece)
        for i in range(len(piece)):
            position = start + i
            if window.scored_from <= position < len(window.tokens) - 1:
                scores.add([context.row(i) for context in contexts], window.tokens[position + 1])


def _context(model: LlamaModel, job: EvalJob) -> LlamaContext:
    return LlamaContext(model, tokens=job.window, batch=STEP_TOKENS, threads=job.threads, all_rows=True)


class _Scores:
    """What the scored tokens gave so far."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._nats: list[float] = []
        self._kl: list[float] = []
        self._same = 0
        self._bytes = 0

    def add(self, rows: list[NDArray[np.float32]], token: int) -> None:
        own = _logarithms(rows[0])
        self._nats.append(-float(own[token]))
        self._bytes += len(self._model.piece(token))
        if len(rows) > 1:
            reference = _logarithms(rows[1])
            self._kl.append(max(0.0, float((np.exp(reference) * (reference - own)).sum())))
            self._same += int(own.argmax() == reference.argmax())

    def figures(self) -> tuple[Figure, ...]:
        nats, count = estimate(self._nats), len(self._nats)
        found = [
            _figure("perplexity", "1", Estimate(*(math.exp(min(value, 700.0)) for value in nats)), count)
        ]
        if self._bytes:
            per_byte = count / self._bytes / math.log(2)
            found.append(
                _figure("bits_per_byte", "bit", Estimate(*(value * per_byte for value in nats)), count)
            )
        if self._kl:
            found.append(_figure("kl_divergence", "nat", estimate(self._kl), count))
            worst = quantile(self._kl, 0.99)
            found.append(_figure("kl_divergence_p99", "nat", Estimate(worst, worst, worst), count))
            found.append(_figure("same_top_share", "1", estimate_share(self._same, count), count))
        return tuple(found)


def _logarithms(row: NDArray[np.float32]) -> NDArray[np.float64]:
    logits = row.astype(np.float64)
    logits -= logits.max()
    logarithms: NDArray[np.float64] = logits - np.log(np.exp(logits).sum())
    return logarithms


def _ask(model: LlamaModel, job: EvalJob, parent: Parent) -> tuple[Figure, ...]:
    if not job.questions:
        return ()
    asking = _Asking(model, job.threads)
    right = 0
    for number, question in enumerate(job.questions):
        parent.progress("asking questions", number, len(job.questions))
        right += is_right(asking.answer(prompt_of(question.question)), question)
    asking.close()
    count = len(job.questions)
    return (_figure("answers_right_share", "1", estimate_share(right, count), count),)


class _Asking:
    """One question after another; what their prompts begin with in common is read once."""

    def __init__(self, model: LlamaModel, threads: int) -> None:
        self._model = model
        self._context = LlamaContext(model, tokens=QUESTION_TOKENS, batch=QUESTION_TOKENS, threads=threads)
        self._before: list[int] = []

    def answer(self, prompt: str) -> str:
        """The likeliest tokens after a text, up to the end of the line."""
        model, context = self._model, self._context
        tokens = model.tokenize(prompt, add_special=True)
        if len(tokens) + MAX_ANSWER_TOKENS > context.tokens:
            raise UsageError(f"the questions take {len(tokens)} tokens of this vocabulary, which is too many")
        pairs = zip(self._before, tokens[:-1], strict=False)
        same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        context.cut(same)
        context.read(tokens[context.length :])
        self._before = tokens
        answer = b""
        for _ in range(MAX_ANSWER_TOKENS):
            token = int(context.row().argmax())
            answer += b"" if model.is_end(token) else model.piece(token)
            if model.is_end(token) or b"\n" in answer.lstrip():
                break
            context.read([token])
        return answer.decode(errors="replace")

    def close(self) -> None:
        """Free the context."""
        self._context.close()


def _figure(name: str, unit: str, value: Estimate, count: int) -> Figure:
    return Figure(name, unit, value.mean, value.low, value.high, count)


if __name__ == "__main__":
    serve(EvalJob, measure)
