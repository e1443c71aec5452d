"""Everything that the runtime counts is shown, and everything that is shown is documented."""

import dataclasses
import re
from pathlib import Path

import msgspec

from skerry_agent.api import metrics
from skerry_agent.runtime import ModelStatus, RuntimeMetrics
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.meter import Meter

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
GROUPS = {
    "runtime": (metrics.COUNTERS, metrics.GAUGES),
    "model": (metrics.MODEL_COUNTERS, metrics.MODEL_GAUGES),
    "engine": (metrics.ENGINE_COUNTERS, metrics.ENGINE_GAUGES),
}


def shown() -> dict[str, str]:
    return {
        metrics.metric_name(group, name, kind): kind
        for group, tables in GROUPS.items()
        for table, kind in zip(tables, ("counter", "gauge"), strict=True)
        for name in table
    }


def status(label: str = "smol@2") -> ModelStatus:
    return ModelStatus(
        sha256="",
        label=label,
        state="ready",
        role="serving",
        pid=1,
        rss_bytes=10,
        restarts=0,
        queue_depth=0,
        in_flight=0,
        info=None,
        last_error=None,
        engine=EngineStats(prefix_hits=3, kv_used=7, decode_s=1.5),
    )


def test_all_that_the_runtime_counts_is_shown() -> None:
    counted = {field.name for field in dataclasses.fields(RuntimeMetrics)}
    assert counted == metrics.COUNTERS.keys() | metrics.GAUGES.keys()
    engine = {field.name for field in msgspec.structs.fields(EngineStats)}
    assert engine == metrics.ENGINE_COUNTERS.keys() | metrics.ENGINE_GAUGES.keys()


def test_the_page_lists_all_metrics_with_their_kinds_and_no_others() -> None:
    rows = re.findall(r"^\| `(skerry_\w+)` \| (counter|gauge) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == shown()


def test_the_text_is_in_prometheus_format() -> None:
    text = metrics.format_metrics(Meter().metrics(queue_depth=1, in_flight=2), [status(), status('a"b\\')])
    assert "skerry_runtime_queue_depth 1\n" in text
    assert 'skerry_engine_prefix_hits_total{model="smol@2",role="serving"} 3\n' in text
    assert 'skerry_engine_decode_seconds_total{model="a\\"b\\\\",role="serving"} 1.5\n' in text
    assert "last_tokens_per_s" not in text
    sample = re.compile(r'[a-z_]+(\{[a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\})? [\d.e+-]+')
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line


def test_two_runners_of_one_model_and_role_are_one_series() -> None:
    text = metrics.format_metrics(Meter().metrics(queue_depth=0, in_flight=0), [status(), status()])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len({line.rpartition(" ")[0] for line in lines})
