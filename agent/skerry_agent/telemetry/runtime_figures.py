"""Metrics of inference, from the runtime's own counters.

====================================  ==============================================================
name                                  meaning
====================================  ==============================================================
``requests_total``                    Finished requests since the daemon started.
``requests_failed_total``             Of these, failed ones.
``requests_refused_total``            Requests refused because the queue was full.
``prompt_tokens_total``               Tokens of prompts.
``completion_tokens_total``           Tokens of answers.
``decode_tokens_per_s``               Of the last request; absent before the first.
``first_token_ms``                    Time to first token of the last request, with the wait in the queue.
``queue_depth_requests``              Requests that wait now.
``in_flight_requests``                Requests that are answered now.
``runner_crashes_total``              Runners that died.
``model_loads_total``                 Models loaded.
``model_loads_refused_total``         Models that did not fit into memory.
``model_unloads_total``               Models unloaded, for whatever reason.
``model_evictions_total``             Of these, those that made room: for a model, a trial, or other programs.
``loaded_models``                     Runners now, candidates and leaving ones included.
``loaded_models_bytes``               What they count against the budget.
``models_budget_bytes``               What models may hold now.
``out_of_service_models``             Models that crashed too often.
====================================  ==============================================================
"""

from skerry_agent.runtime import RuntimeMetrics


def runtime_metrics(figures: RuntimeMetrics) -> dict[str, float]:
    """The table above; figures that were not measured yet are absent."""
    evictions = figures.unloads_for_model + figures.unloads_for_trial + figures.unloads_for_device
    metrics: dict[str, float | None] = {
        "requests_total": figures.requests,
        "requests_failed_total": figures.requests_failed,
        "requests_refused_total": figures.requests_refused,
        "prompt_tokens_total": figures.prompt_tokens,
        "completion_tokens_total": figures.completion_tokens,
        "decode_tokens_per_s": figures.last_tokens_per_s,
        "first_token_ms": figures.last_first_token_ms,
        "queue_depth_requests": figures.queue_depth,
        "in_flight_requests": figures.in_flight,
        "runner_crashes_total": figures.crashes,
        "model_loads_total": figures.loads,
        "model_loads_refused_total": figures.loads_refused,
        "model_unloads_total": evictions
        + figures.unloads_unused
        + figures.unloads_requested
        + figures.unloads_replaced,
        "model_evictions_total": evictions,
        "loaded_models": figures.loaded_models,
        "loaded_models_bytes": figures.loaded_bytes,
        "models_budget_bytes": figures.memory_budget_bytes,
        "out_of_service_models": figures.out_of_service_models,
    }
    return {name: float(value) for name, value in metrics.items() if value is not None}
