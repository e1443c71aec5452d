from dataclasses import replace

from skerry_agent.registry import Slot
from skerry_agent.registry.artifact import InstalledArtifact
from skerry_agent.registry.catalog import KnownPartial
from skerry_agent.registry.garbage import Garbage, Holdings, plan_garbage
from support.registry import make_artifact

OLD, BACK, NOW = (make_artifact(f"m@{n}", sha=f"{n}" * 64, at=float(n)) for n in (1, 2, 3))
MINE = make_artifact("local/mine@1", sha="4" * 64, at=0.0)
SLOT = Slot("a/stable", NOW, BACK)
FILES = {a.file_sha256: 100 for a in (OLD, BACK, NOW, MINE)}


def plan(holdings: Holdings, need: int = 0, now: float = 1000.0) -> Garbage:
    return plan_garbage(holdings, need_bytes=need, now=now, partial_keep_s=500.0)


def holdings(*artifacts: InstalledArtifact) -> Holdings:
    return Holdings(files=FILES, partials={}, known={}, artifacts=artifacts, slots=[SLOT])


def test_without_need_only_what_nothing_refers_to_goes() -> None:
    garbage = plan(replace(holdings(BACK, NOW, MINE), files=FILES))
    assert garbage == Garbage([OLD.file_sha256], [], [], 100)


def test_with_need_old_signed_versions_go_but_never_active_previous_or_local_ones() -> None:
    garbage = plan(holdings(OLD, BACK, NOW, MINE), need=1_000_000)
    assert garbage.artifacts == [OLD]
    assert garbage.files == [OLD.file_sha256]


def test_a_file_that_another_artifact_shares_stays() -> None:
    twin = replace(OLD, ref="twin@1", file_sha256=NOW.file_sha256)
    garbage = plan(holdings(OLD, BACK, NOW, MINE, twin), need=150)
    assert garbage.files == [OLD.file_sha256]
    assert garbage.artifacts == [OLD, twin]


def test_stored_files_of_a_wanted_download_are_no_orphans() -> None:
    known = {OLD.file_sha256: KnownPartial(wanted=True, used_at=999.0)}
    assert plan(replace(holdings(BACK, NOW, MINE), known=known)).files == []
    known = {OLD.file_sha256: KnownPartial(wanted=False, used_at=999.0)}
    assert plan(replace(holdings(BACK, NOW, MINE), known=known)).files == [OLD.file_sha256]


def test_downloads_go_when_unknown_or_long_unused_or_unwanted_under_need() -> None:
    known = {
        "fresh": KnownPartial(wanted=True, used_at=900.0),
        "stale": KnownPartial(wanted=True, used_at=100.0),
        "unwanted": KnownPartial(wanted=False, used_at=900.0),
        "open": KnownPartial(wanted=False, used_at=0.0),
    }
    partials = {"fresh": 10, "stale": 20, "unwanted": 30, "open": 40, "unknown": 50}
    some = replace(
        holdings(OLD, BACK, NOW, MINE), known=known, partials=partials, open_partials=frozenset({"open"})
    )
    assert plan(some).partials == ["stale", "unknown"]
    assert plan(some, need=75).partials == ["stale", "unknown", "unwanted"]
    assert plan(some, need=75).artifacts == []
    assert plan(some, need=101).artifacts == [OLD]


def adapter(ref: str, sha: str, at: float, base: InstalledArtifact) -> InstalledArtifact:
    return make_artifact(ref, sha=sha * 64, at=at, base=base.file_sha256)


def test_a_base_goes_only_after_its_adapters() -> None:
    german = adapter("german@1", "7", 9.0, OLD)
    garbage = plan(holdings(OLD, BACK, NOW, german), need=1_000)
    assert garbage.artifacts == [german, OLD]


def test_a_base_stays_while_an_adapter_on_it_is_kept() -> None:
    mine = adapter("local/german@1", "7", 9.0, OLD)
    assert plan(holdings(OLD, BACK, NOW, mine), need=1_000).artifacts == []

    active = adapter("german@1", "7", 9.0, OLD)
    there = replace(holdings(OLD, BACK, NOW, active), slots=[Slot("b/stable", NOW, adapters=(active,))])
    assert plan(there, need=1_000).artifacts == [BACK]

    wanted = replace(
        holdings(OLD, BACK, NOW, active),
        known={active.file_sha256: KnownPartial(wanted=True, used_at=999.0)},
    )
    assert plan(wanted, need=1_000).artifacts == []


def test_adapters_are_kept_where_they_serve_and_where_a_rollback_needs_them() -> None:
    now, back, old = (adapter(f"german@{n}", str(n), float(n), NOW) for n in (7, 8, 9))
    slot = Slot("a/stable", NOW, NOW, adapters=(now,), previous_adapters=(back,))
    garbage = plan(replace(holdings(NOW, now, back, old), slots=[slot]), need=1_000)
    assert garbage.artifacts == [old]
