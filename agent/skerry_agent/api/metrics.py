"""The runtime's figures in Prometheus' text exposition format.

Written out here: ``prometheus-client`` would add a registry and a thread-safe store for a dozen numbers
that the runtime has already.
"""

from skerry_agent.runtime import RuntimeMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = {
    "requests": "Requests that were admitted.",
    "requests_failed": "Requests that ended with an error.",
    "requests_cancelled": "Requests whose client went away.",
    "requests_refused": "Requests that were refused because the queue was full.",
    "prompt_tokens": "Tokens read.",
    "completion_tokens": "Tokens generated.",
    "crashes": "Runner processes that ended unexpectedly.",
    "loads": "Models loaded.",
}
_GAUGES = {
    "queue_depth": "Requests that wait.",
    "in_flight": "Requests that wait or run.",
    "last_tokens_per_s": "Decoding rate of the last request.",
    "mean_tokens_per_s": "Mean decoding rate.",
    "last_first_token_ms": "Time to the first token of the last request, with the wait.",
    "mean_first_token_ms": "Mean time to the first token.",
}


def format_metrics(metrics: RuntimeMetrics) -> str:
    """All figures as text; what is not known yet is left out."""
    lines: list[str] = []
    for names, kind, suffix in ((_COUNTERS, "counter", "_total"), (_GAUGES, "gauge", "")):
        for name, help_text in names.items():
            value = getattr(metrics, name)
            if value is None:
                continue
            full = f"skerry_runtime_{name}{suffix}"
            lines += [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", f"{full} {value}"]
    return "\n".join(lines) + "\n"
