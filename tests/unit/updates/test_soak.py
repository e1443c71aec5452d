import msgspec
import pytest

from skerry_agent.runtime import HealthCounts
from skerry_agent.updates import UpdateLimits
from skerry_agent.updates.soak import Soak, begin_soak, judge_soak
from skerry_protocol.acceptance import SoakTerms

LIMITS = UpdateLimits()
GOOD = HealthCounts(finished=100, failed=1, first_token_s=10.0, decoded=1000, decode_s=100.0)
"""1 % errors, 100 ms to the first token, 10 tokens/s."""


def soak(counts: HealthCounts, before: HealthCounts = GOOD, **heat: float) -> Soak:
    begun = begin_soak(None, LIMITS, before, None)
    return msgspec.structs.replace(begun, done_s=60.0, counts=counts, **heat)


def changed(**values: float) -> HealthCounts:
    return msgspec.structs.replace(GOOD, **values)


@pytest.mark.parametrize(
    ("held", "code", "words"),
    [
        (soak(changed(crashes=3)), "soak_crashes", "crashed 3 times within 60 s"),
        (
            soak(changed(finished=90, failed=10)),
            "soak_errors",
            "10 of 100 requests failed (10 %); 1 of 101 did before, and 6 % were allowed",
        ),
        (
            soak(changed(decode_s=201.0)),
            "soak_slow",
            "5.0 tokens/s over 100 requests; 10.0 before, and 5.0 were needed",
        ),
        (
            soak(changed(first_token_s=26.0)),
            "soak_slow",
            "260 ms to the first token over 100 requests; 100 before, and 250 were allowed",
        ),
        (soak(GOOD, celsius_sum=270.0, readings=3), "soak_hot", "90 °C on average; 85 are the limit"),
        (
            soak(GOOD, celsius_sum=270.0, readings=3, celsius_before=80.0),
            "soak_hot",
            "90 °C on average, 80 before; 85 are the limit",
        ),
    ],
)
def test_what_is_worse_is_said_with_its_figures(held: Soak, code: str, words: str) -> None:
    reason = judge_soak(held, LIMITS)
    assert reason is not None
    assert reason.code == code
    assert words in reason.message


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(soak(HealthCounts()), id="no requests at all"),
        pytest.param(soak(GOOD), id="the same"),
        pytest.param(soak(changed(crashes=2)), id="a crash or two"),
        pytest.param(soak(HealthCounts(failed=2)), id="two failures are chance"),
        pytest.param(soak(changed(finished=95, failed=5)), id="within what is allowed"),
        pytest.param(soak(changed(decode_s=199.0)), id="slower, within what is allowed"),
        pytest.param(soak(changed(finished=9, decode_s=9e3)), id="too few requests to compare"),
        pytest.param(soak(changed(decode_s=9e3), before=HealthCounts()), id="nothing to compare with"),
        pytest.param(soak(GOOD, celsius_sum=180.0, readings=2), id="too few readings"),
        pytest.param(soak(GOOD, celsius_sum=270.0, readings=3, celsius_before=88.0), id="as hot before"),
        pytest.param(soak(GOOD, celsius_sum=210.0, readings=3), id="warm"),
    ],
)
def test_nothing_speaks_against_it(held: Soak) -> None:
    assert judge_soak(held, LIMITS) is None


def test_the_manifest_overrides_the_devices_settings_one_by_one() -> None:
    begun = begin_soak(SoakTerms(duration_s=0.0, max_slowdown=9.0), LIMITS, GOOD, 40.0)
    assert (begun.total_s, begun.max_slowdown) == (0.0, 9.0)
    assert begun.max_more_errors_percent == LIMITS.soak_max_more_errors_percent
    assert (begun.before, begun.celsius_before) == (GOOD, 40.0)


def test_looks_add_up_and_survive_being_stored() -> None:
    held = begin_soak(None, LIMITS, GOOD, None).look(5.0, HealthCounts(finished=1), None)
    held = msgspec.json.decode(msgspec.json.encode(held), type=Soak)
    held = held.look(10.0, HealthCounts(finished=2, crashes=1), 50.0).look(0.0, HealthCounts(), 60.0)
    assert (held.done_s, held.left_s, held.counts.finished, held.celsius) == (15.0, 285.0, 3, 55.0)
    assert held.figures()["soak_crashes"] == 1
    assert "soak_tokens_per_s" not in held.figures()


def test_differences_of_counters_are_what_happened_between() -> None:
    assert changed(finished=103, crashes=2) - GOOD == HealthCounts(finished=3, crashes=2)
    assert HealthCounts().error_percent == 0
    assert HealthCounts().first_token_ms is None
