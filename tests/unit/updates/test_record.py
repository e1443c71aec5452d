from dataclasses import replace

import msgspec
import pytest

from skerry_agent.registry import Pair
from skerry_agent.updates.record import SlotRecord, fresh, judge, verdict_key
from skerry_agent.updates.table import Event, State
from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.reported import Reason
from support.registry import make_artifact

V1, V2 = (TargetRef(path=f"models/m/{n}.json", sha256=f"{n}" * 64, length=1) for n in (1, 2))
SERVING_V1 = Pair(replace(make_artifact("m@1", sha="a" * 64), target_sha256=V1.sha256))
ADAPTER = TargetRef(path="models/german/1.json", sha256="d" * 64, length=1)
GERMAN = replace(make_artifact("german@1", sha="e" * 64, base="a" * 64), target_sha256=ADAPTER.sha256)
SLOW = Reason("too_slow", "3 tokens/s")


def record(state: State, target: TargetRef = V2, attempt: int = 1) -> SlotRecord:
    return SlotRecord(slot="s", state=state, target=target, attempt=attempt, generation="1.1")


def stuck(code: str) -> SlotRecord:
    return msgspec.structs.replace(record("refused", V1), reason=Reason(code, "it still serves"))


def want(target: TargetRef = V2, attempt: int = 1) -> DesiredSlot:
    return DesiredSlot(target=target, attempt=attempt)


@pytest.mark.parametrize(
    ("held", "wanted", "generation", "verdict", "event"),
    [
        # Nothing under way.
        (record("idle"), want(), "1.1", None, "wanted"),
        (record("committed", V1), want(), "1.2", None, "wanted"),
        (record("committed", V1), want(V1), "1.2", None, None),
        (record("committed", V1), want(V1, 2), "1.2", None, "satisfied"),
        (record("idle"), want(V1), "1.1", None, "satisfied"),
        (record("rolled_back"), want(V1), "1.2", None, "satisfied"),
        (record("committed", V1), None, "1.2", None, None),
        # Rolled back before.
        (record("rolled_back"), want(), "1.2", SLOW, None),
        (record("committed", V1), want(), "1.2", SLOW, "held"),
        (record("rolled_back"), want(V2, 2), "1.2", None, "wanted"),
        # Refused before.
        (record("refused"), want(), "1.1", None, None),
        (record("refused"), want(), "1.2", None, "wanted"),
        (record("refused"), want(V2, 2), "1.1", None, "wanted"),
        # Under way.
        (record("downloading"), want(), "1.2", None, None),
        (record("downloading"), want(V1), "1.2", None, "superseded"),
        (record("trial"), want(V2, 2), "1.2", None, "superseded"),
        (record("staged"), None, "1.2", None, "superseded"),
        (record("soaking"), want(V1), "1.2", None, "superseded"),
        (record("soaking"), None, "1.2", None, "superseded"),
        (record("switching"), want(V1), "1.2", None, None),
        (record("going_back"), None, "1.2", None, None),
        # It failed, and still serves.
        (stuck("no_way_back"), want(V1), "1.2", None, None),
        (stuck("no_way_back"), want(V1, 2), "1.2", None, "satisfied"),
    ],
)
def test_what_a_desired_state_means(
    held: SlotRecord, wanted: DesiredSlot | None, generation: str, verdict: Reason | None, event: Event | None
) -> None:
    assert judge(held, wanted, generation, SERVING_V1, verdict) == event


def test_a_version_whose_file_is_gone_is_wanted_again() -> None:
    broken = Pair(replace(SERVING_V1.model, broken=True))
    assert judge(record("committed", V1), want(V1), "1.1", broken, None) == "wanted"
    assert judge(record("committed", V1), want(V1), "1.1", None, None) == "wanted"


def test_a_new_attempt_begins_with_nothing_but_the_state() -> None:
    old = msgspec.structs.replace(record("refused"), trials=3, stores=40, bytes_fetched=9, reason=SLOW)
    new = fresh("s", want(V2, 2), "1.2", old)
    assert new == SlotRecord(slot="s", state="refused", target=V2, attempt=2, generation="1.2")
    assert new.after("wanted").state == "resolving"


def test_starts_count_within_a_state_only() -> None:
    held = msgspec.structs.replace(record("verifying"), starts=4, reason=SLOW)
    assert held.after("restarted").starts == 4
    after = held.after("verified")
    assert (after.starts, after.stores, after.reason) == (0, 1, None)


def test_a_record_survives_being_stored() -> None:
    held = msgspec.structs.replace(record("trial"), reason=SLOW, figures={"tokens_per_s": 1.5})
    assert msgspec.json.decode(msgspec.json.encode(held), type=SlotRecord) == held


def test_a_model_with_an_adapter_is_another_version_than_the_model_alone() -> None:
    plain, adapted = want(V1), msgspec.structs.replace(want(V1), adapters=(ADAPTER,))
    pair = Pair(SERVING_V1.model, (GERMAN,))

    assert judge(record("committed", V1), adapted, "1.1", SERVING_V1, None) == "wanted"
    assert judge(record("committed", V1), adapted, "1.1", pair, None) == "satisfied"
    assert judge(record("committed", V1), plain, "1.1", pair, None) == "wanted"
    assert not record("downloading", V1).is_about(adapted)
    assert verdict_key("s", V1, ()) != verdict_key("s", V1, (ADAPTER,))
    assert verdict_key("s", V1, ()) == ("s", V1.path, V1.sha256)
