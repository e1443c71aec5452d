"""Measures how fast a model reads and writes, as llama-bench does: ``python -m …speed_child``.

Each point is measured once without counting. Tokens are random ones and none is chosen from the answer: the
time is that of llama.cpp's computation alone.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry_controller.workshop.child_side import Parent, serve
from skerry_controller.workshop.measuring.busy import Neighbours
from skerry_controller.workshop.measuring.energy import EnergyMeter, find_meter, why_none
from skerry_controller.workshop.measuring.llama import LlamaContext, LlamaModel, ordinary_tokens
from skerry_controller.workshop.measuring.plan import BenchPlan
from skerry_controller.workshop.measuring.samples import Sample, Samples

FIRST_TOKEN_PROMPT = 128
MIN_ENERGY_S = 0.5
"""RAPL's counters move each millisecond: what lasts too short is measured for a longer time."""


class SpeedJob(msgspec.Struct, frozen=True):
    """What to measure.

    Attributes:
        path: The model's file.
        plan: The points; they fit the model.
    """

    path: str
    plan: BenchPlan


def measure(job: SpeedJob, parent: Parent) -> Samples:
    """Measure all points; each is told as a result when it is there."""
    neighbours = Neighbours()
    meter = find_meter()
    model = LlamaModel(Path(job.path))
    try:
        samples = _Bench(model, job.plan, meter, parent).run()
    finally:
        if meter is not None:
            meter.close()
    notes = [neighbours.note(), why_none() if meter is None else f"energy of: {meter.source}"]
    return Samples(tuple(samples), tuple(note for note in notes if note))


class _Bench:
    def __init__(self, model: LlamaModel, plan: BenchPlan, meter: EnergyMeter | None, parent: Parent) -> None:
        self._model = model
        self._plan = plan
        self._meter = meter
        self._parent = parent
        self._samples: list[Sample] = []
        self._done = 0
        points = len(plan.batches) * len(plan.depths) * len(plan.threads)
        points += (len(plan.depths) + 1) * len(plan.threads)
        self._steps = points * (plan.repetitions + 1)

    def run(self) -> list[Sample]:
        for number, batch in enumerate(self._plan.batches):
            self._measure_batch(batch, first=number == 0)
        return self._samples

    def _measure_batch(self, batch: int, *, first: bool) -> None:
        """All depths and threads with steps of so many tokens; answers, in steps of one, only once."""
        plan = self._plan
        prompt = ordinary_tokens(self._model, plan.prompt_tokens)
        answer = ordinary_tokens(self._model, plan.answer_tokens, seed=1)
        tokens = max(plan.depths) + max(plan.prompt_tokens, plan.answer_tokens)
        context = LlamaContext(self._model, tokens=tokens, batch=batch, threads=max(plan.threads))
        try:
            for depth in plan.depths:
                before = ordinary_tokens(self._model, depth, seed=2)
                for threads in plan.threads:
                    context.set_threads(threads)
                    at = {"threads": threads, "batch": batch, "depth": depth}
                    self._rates("prompt_tok_s", context, before, prompt, batch, at)
                    if first:
                        self._rates("generation_tok_s", context, before, answer, 1, at | {"batch": 1})
                    if first and depth == plan.depths[0]:
                        self._first_token(context, prompt, threads)
        finally:
            context.close()

    def _rates(
        self,
        name: str,
        context: LlamaContext,
        before: Sequence[int],
        tokens: Sequence[int],
        step: int,
        at: dict[str, int],
    ) -> None:
        rates: list[float] = []
        joules: list[float] = []
        for repetition in range(self._plan.repetitions + 1):
            self._tell(f"{name.partition('_')[0]}: {', '.join(f'{k} {v}' for k, v in at.items())}")
            seconds, energy = self._time(context, before, tokens, step)
            if repetition:
                rates.append(len(tokens) / seconds)
                joules.append(energy / len(tokens))
        self._give(Sample(name, "tok/s", tuple(rates), at))
        if self._meter is not None:
            kind = "joules_per_token" if name.startswith("generation") else "joules_per_prompt_token"
            self._give(Sample(kind, "J", tuple(joules), at))

    def _time(
        self, context: LlamaContext, before: Sequence[int], tokens: Sequence[int], step: int
    ) -> tuple[float, float]:
        """Seconds and joules of one pass; with a meter as many passes as make a reading that counts."""
        seconds = energy = 0.0
        passes = 0
        while not passes or (self._meter is not None and seconds < MIN_ENERGY_S):
            self._stand_at(context, before)
            joules, start = self._joules(), time.perf_counter()
            for at in range(0, len(tokens), step):
                context.read(tokens[at : at + step])
            seconds += time.perf_counter() - start
            energy += self._joules() - joules
            passes += 1
        return seconds / passes, energy / passes

    def _first_token(self, context: LlamaContext, prompt: Sequence[int], threads: int) -> None:
        """From the prompt's tokens to the likeliest first token of the answer."""
        prompt = prompt[:FIRST_TOKEN_PROMPT]
        times: list[float] = []
        for repetition in range(self._plan.repetitions + 1):
            self._tell(f"first token: threads {threads}, prompt {len(prompt)}")
            context.cut(0)
            start = time.perf_counter()
            context.read_all(prompt)
            int(context.row().argmax())
            if repetition:
                times.append((time.perf_counter() - start) * 1e3)
        self._give(Sample("first_token_ms", "ms", tuple(times), {"threads": threads, "prompt": len(prompt)}))

    def _stand_at(self, context: LlamaContext, before: Sequence[int]) -> None:
        """Let the context hold just these tokens; what is there of them is not computed again."""
        if context.length > len(before) and not context.cut(len(before)):
            context.cut(0)  # a recurrent memory cannot go back
        context.read_all(before[context.length :])

    def _joules(self) -> float:
        return self._meter.joules() if self._meter is not None else 0.0

    def _give(self, sample: Sample) -> None:
        self._samples.append(sample)

    def _tell(self, what: str) -> None:
        self._parent.progress(what, self._done, self._steps)
        self._done += 1


if __name__ == "__main__":
    serve(SpeedJob, measure)
