"""The runtime's figures in Prometheus' text exposition format.

Written out here: ``prometheus-client`` would add a registry and a thread-safe store for numbers that the
runtime has already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from skerry_agent.runtime import ModelStatus, RuntimeMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTERS = {
    "requests": "Requests that were admitted.",
    "requests_failed": "Requests that ended with an error.",
    "requests_cancelled": "Requests whose client went away.",
    "requests_refused": "Requests that were refused, mostly because the queue was full.",
    "requests_repeated": "Requests given to a new runner, since theirs ended before it had begun them.",
    "prompt_tokens": "Tokens of prompts of finished requests.",
    "completion_tokens": "Tokens of answers of finished requests.",
    "crashes": "Runner processes that ended unexpectedly.",
    "loads": "Models loaded.",
    "loads_refused": "Models that did not fit into memory.",
    "unloads_unused": "Models unloaded after their keep-alive time.",
    "unloads_requested": "Models unloaded because a request asked for it.",
    "unloads_for_model": "Models unloaded to make room for another.",
    "unloads_for_trial": "Models unloaded to make room for a trial.",
    "unloads_for_device": "Models unloaded because other programs needed the memory.",
    "unloads_replaced": "Models unloaded because another version took their place.",
}
GAUGES = {
    "queue_depth": "Requests that wait.",
    "in_flight": "Requests that wait or run.",
    "last_tokens_per_s": "Decoding rate of the last request, in tokens a second.",
    "mean_tokens_per_s": "Mean decoding rate, in tokens a second.",
    "last_first_token_ms": "Time to the first token of the last request with the wait, in milliseconds.",
    "mean_first_token_ms": "Mean time to the first token, in milliseconds.",
    "loaded_models": "Runners, candidates and leaving ones included.",
    "loaded_bytes": "What they count against the budget, in bytes.",
    "memory_budget_bytes": "What models may hold now, in bytes.",
    "out_of_service_models": "Models that crashed too often.",
}
MODEL_COUNTERS = {
    "restarts": "How often the runner was started again after a crash.",
}
MODEL_GAUGES = {
    "rss_bytes": "Resident memory of the runner, mapped model pages included, in bytes.",
    "memory_bytes": "What counts against the budget for this model, in bytes.",
    "predicted_bytes": "What the header of its file predicts, in bytes.",
    "queue_depth": "Requests that wait for this model.",
    "in_flight": "Requests of this model that wait or run.",
}
ENGINE_COUNTERS = {
    "steps": "Calls of llama_decode.",
    "decode_s": "Time in llama_decode, in seconds.",
    "sample_s": "Time in samplers, in seconds.",
    "draft_s": "Time in a draft model, which guesses tokens, in seconds.",
    "rest_s": "Time of the steps in all else, in seconds.",
    "prompt_tokens": "Tokens of prompts that were computed. Its rate is the prefill rate.",
    "cached_tokens": "Tokens of prompts that shared prefixes held already.",
    "completion_tokens": "Tokens that were sampled. Its rate is the decode rate.",
    "drafted_tokens": "Tokens that were guessed, from the text before or by a draft model.",
    "accepted_tokens": "Guessed tokens that turned out right.",
    "prefix_hits": "Requests that began with a shared prefix.",
    "evicted_tokens": "Tokens of shared prefixes that made room.",
    "preemptions": "How often a running request had to wait again, since the cache was full.",
    "restored_tokens": "Tokens of prefixes that came back from disk.",
    "thread_changes": "How often the number of threads changed.",
    "adapter_switches": "How often the steps went on with other LoRA adapters.",
}
ENGINE_GAUGES = {
    "active": "Slots in use: requests that run.",
    "waiting": "Requests that wait for a slot.",
    "kv_tokens": "Cells of the KV cache, one a token.",
    "kv_used": "Cells of the KV cache that are held.",
    "cached_prefixes": "Sequences that are kept for others to begin with.",
    "parked_tokens": "Tokens of prefixes that lie outside the cache, in memory.",
    "threads": "Threads of the engine now.",
    "others_cores": "Load of the device's other processes, in cores.",
    "chunk_tokens": "Prompt tokens in one step, as adapted.",
    "celsius": "Temperature of the device when there is a limit to it, in degrees Celsius.",
}

Values = Iterable[tuple[str, float]]
"""Labels as text, such as ``{model="smol@2"}``, and the value."""


def format_metrics(metrics: RuntimeMetrics, models: Sequence[ModelStatus]) -> str:
    """All figures as text; what is not known yet is left out."""
    lines: list[str] = []
    for table, kind in ((COUNTERS, "counter"), (GAUGES, "gauge")):
        for name, about in table.items():
            value = getattr(metrics, name)
            lines += _metric("runtime", name, kind, about, [] if value is None else [("", value)])
    for table, kind in ((MODEL_COUNTERS, "counter"), (MODEL_GAUGES, "gauge")):
        lines += _of_models("model", table, kind, [(_labels(m), m) for m in models])
    engines = [(_labels(m), m.engine) for m in models if m.engine is not None]
    for table, kind in ((ENGINE_COUNTERS, "counter"), (ENGINE_GAUGES, "gauge")):
        lines += _of_models("engine", table, kind, engines)
    return "\n".join(lines) + "\n"


def _of_models(
    group: str, table: Mapping[str, str], kind: str, models: Sequence[tuple[str, object]]
) -> Iterator[str]:
    for name, about in table.items():
        values = [(labels, getattr(model, name)) for labels, model in models]
        yield from _metric(group, name, kind, about, values)


def _metric(group: str, name: str, kind: str, about: str, values: Values) -> Iterator[str]:
    full = metric_name(group, name, kind)
    # Two runners of one model in one role would be one series twice, which Prometheus refuses.
    series = dict(values)
    if series:
        yield f"# HELP {full} {about}"
        yield f"# TYPE {full} {kind}"
        yield from (f"{full}{labels} {value}" for labels, value in series.items())


def metric_name(group: str, name: str, kind: str) -> str:
    """The name that Prometheus sees: counters end with ``_total``, seconds are written out."""
    name = (
        f"{name.removesuffix('_s')}_seconds"
        if name in ("decode_s", "sample_s", "draft_s", "rest_s")
        else name
    )
    return f"skerry_{group}_{name}{'_total' if kind == 'counter' else ''}"


def _labels(model: ModelStatus) -> str:
    label = model.label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{model="{label}",role="{model.role}"}}'
