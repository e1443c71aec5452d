"""Measures a model of the library on this machine: speed, loading, memory. Each in child processes."""

from pathlib import Path
from typing import Final

from skerry_controller.clock import Clock, utc_now
from skerry_controller.workshop.child import run_child
from skerry_controller.workshop.library import Entry, Figure, Figures, Library
from skerry_controller.workshop.library.figures import Kind
from skerry_controller.workshop.measuring.busy import Neighbours
from skerry_controller.workshop.measuring.load_child import Loaded, LoadJob
from skerry_controller.workshop.measuring.machine import this_machine, versions, written
from skerry_controller.workshop.measuring.memory_child import Memory, MemoryJob
from skerry_controller.workshop.measuring.page_cache import cached_share, drop_cached
from skerry_controller.workshop.measuring.plan import BenchPlan
from skerry_controller.workshop.measuring.prediction import MEMORY_BATCH, predict
from skerry_controller.workshop.measuring.samples import Sample, Samples, to_figures
from skerry_controller.workshop.measuring.speed_child import SpeedJob
from skerry_controller.workshop.progress import Progress, StopSign, silent

_ROOM: Final = "skerry_controller.workshop.measuring"
_WARM_FROM: Final = 0.02
"""Share of a file that is still cached: from here on a cold load was not quite cold."""
COLD_NOTE: Final = (
    "cold: the file's pages were dropped from this system's page cache; caches of its disk or host were not"
)


def bench_model(
    library: Library,
    entry: Entry,
    plan: BenchPlan,
    *,
    progress: Progress = silent,
    stop: StopSign | None = None,
    clock: Clock = utc_now,
) -> list[Figures]:
    """Measure loading, memory and speed, and keep each set in the library as soon as it is there.

    Raises:
        UsageError: The plan has no point that the model can have.
        PeerError: llama.cpp does not take the file.
        WorldError: A child crashed, or there is no memory.
        StoppedError: It was asked to stop; sets that were whole by then are kept.
    """
    plan = plan.fitted(entry.description.context_length)
    path = library.path(entry)
    stop = stop or StopSign()
    found = []
    for measure in (_measure_loading, _measure_memory, _measure_speed):
        kind, samples = measure(path, entry, plan, progress, stop)
        figures = as_figures(entry, kind, to_figures(samples.samples), notes=samples.notes, clock=clock)
        library.record(figures)
        found.append(figures)
    return found


def as_figures(
    entry: Entry,
    kind: Kind,
    values: tuple[Figure, ...],
    *,
    notes: tuple[str, ...] = (),
    clock: Clock = utc_now,
    parent_sha256: str | None = None,
    corpus: str | None = None,
) -> Figures:
    """Figures of this machine, with machine, versions and date."""
    return Figures(
        sha256=entry.sha256,
        kind=kind,
        machine=this_machine(),
        versions=versions(),
        measured_at=written(clock()),
        figures=values,
        parent_sha256=parent_sha256,
        corpus=corpus,
        notes=notes,
    )


def _measure_speed(
    path: Path, entry: Entry, plan: BenchPlan, progress: Progress, stop: StopSign
) -> tuple[Kind, Samples]:
    del entry
    job = SpeedJob(str(path), plan)
    return "speed", run_child(f"{_ROOM}.speed_child", job, Samples, progress=progress, stop=stop)


def _measure_loading(
    path: Path, entry: Entry, plan: BenchPlan, progress: Progress, stop: StopSign
) -> tuple[Kind, Samples]:
    """Cold and warm in turn, each in a fresh process."""
    del entry
    neighbours = Neighbours()
    job = LoadJob(str(path), max(plan.threads))
    times: dict[str, list[float]] = {"load_cold_ms": [], "load_warm_ms": []}
    cached: list[float] = []
    for repetition in range(plan.repetitions):
        progress("loading, cold and warm", repetition, plan.repetitions)
        drop_cached(path)
        share = cached_share(path)
        cached += [] if share is None else [share]
        for name, values in times.items():
            del name
            values.append(run_child(f"{_ROOM}.load_child", job, Loaded, stop=stop).ready_ms)
    at = {"threads": job.threads}
    samples = [Sample(name, "ms", tuple(values), at) for name, values in times.items()]
    notes = [COLD_NOTE]
    if cached and max(cached) > _WARM_FROM:
        notes.append(
            f"not quite cold: up to {max(cached):.0%} of the file stayed cached, since others map it"
        )
    busy = neighbours.note()
    return "load", Samples(tuple(samples), (*notes, *([busy] if busy else [])))


def _measure_memory(
    path: Path, entry: Entry, plan: BenchPlan, progress: Progress, stop: StopSign
) -> tuple[Kind, Samples]:
    samples = [Sample("file_bytes", "B", (float(entry.length),))]
    notes = []
    for context in plan.contexts:
        job = MemoryJob(str(path), context, MEMORY_BATCH, max(plan.threads))
        memory = run_child(f"{_ROOM}.memory_child", job, Memory, progress=progress, stop=stop)
        samples += memory_samples(entry, context, memory)
        if memory.repacked:
            notes.append(
                f"{memory.repacked / 1024**2:.0f} MiB of weights were copied into an order that suits this "
                "processor; their pages of the file count until the kernel drops them"
            )
    return "memory", Samples(tuple(samples), tuple(dict.fromkeys(notes)))


def memory_samples(entry: Entry, context: int, memory: Memory) -> list[Sample]:
    """Predicted and measured bytes at one context."""
    foreseen = predict(entry, context)
    values = {
        "rss_bytes": memory.full.rss,
        "private_bytes": memory.full.private,
        "process_bytes": memory.before.rss,
        "measured_bytes": memory.full.model + memory.full.private - memory.before.private,
        "predicted_bytes": foreseen.total,
        "predicted_weights_bytes": foreseen.weights,
        "predicted_cache_bytes": foreseen.cache,
        "predicted_compute_bytes": foreseen.compute,
        "predicted_tables_bytes": foreseen.tables,
        "weights_bytes": memory.mapped,
        "repacked_bytes": memory.repacked,
        "cache_bytes": memory.cache,
        "compute_bytes": memory.compute,
    }
    return [Sample(name, "B", (float(size),), {"context": context}) for name, size in values.items()]
