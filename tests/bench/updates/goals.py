"""What was measured of a pair, and whether it is good enough. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.updates.cases import Kind

KiB: Final = 1024
MiB: Final = 1024 * KiB
OURS: Final = "skerry"
TEMPLATE_BYTES: Final = 128 * KiB
BLOCK_EXCESS: Final = 1.01
OF_XDELTA: Final = 0.5
OF_ZSTD_PATCH: Final = 0.25
JUDGED_TYPES: Final = ("Q4_0", "Q4_K_M")
MEMORY_MIB: Final = 32.0
SPEED_SHARE: Final = 0.7
Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True)
class Row:
    """One case of one model.

    Attributes:
        wire_bytes: By method.
        cpu_s: By method.
        changed_bytes: Of tensors that differ.
        details: What our bytes were.
    """

    model: str
    case: str
    kind: Kind
    file_type: str
    share: str
    new_bytes: int
    changed_bytes: int
    wire_bytes: Mapping[str, int]
    cpu_s: Mapping[str, float]
    details: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A goal, what came out, and the verdict."""

    title: str
    measured: str
    goal: str
    verdict: Verdict


def judge(rows: Sequence[Row]) -> list[Judged]:
    """Every goal of every row."""
    return [judged for row in rows for judged in _of_row(row)]


def judge_memory(title: str, grown_mib: float) -> Judged:
    """Memory of the agent while it downloads."""
    return Judged(
        f"memory while downloading, {title}",
        f"{grown_mib:.1f} MiB more",
        f"at most {MEMORY_MIB:g} MiB more",
        _verdict(good=grown_mib <= MEMORY_MIB),
    )


def judge_speed(share: float) -> Judged:
    """Speed of hashing and writing, as a share of sha256sum and cp."""
    return Judged(
        "hash and write", f"{share:.0%} of sha256sum + cp", f"at least {SPEED_SHARE:.0%}",
        _verdict(good=share >= SPEED_SHARE),
    )  # fmt: skip


def _of_row(row: Row) -> Iterator[Judged]:
    title = f"{row.model}, {row.case}"
    ours = row.wire_bytes.get(OURS)
    if ours is None:
        yield Judged(title, "", "", "not measured")
        return
    if row.kind == "template":
        yield _at_most(title, ours, TEMPLATE_BYTES)
    if row.kind == "block":
        yield _at_most(title, ours, int(BLOCK_EXCESS * row.changed_bytes))
    if row.kind == "same":
        chunks = row.details["chunks_fetched"]
        yield Judged(title, f"{chunks} chunks", "0 chunks", _verdict(good=chunks == 0))
    yield _at_most(f"{title}, the whole file", ours, row.new_bytes)
    if row.kind == "finetune" and row.share == "1 %" and row.file_type in JUDGED_TYPES:
        yield _at_most_of(title, row, "xdelta3", OF_XDELTA)
        for method in row.wire_bytes:
            if method.startswith("zstd --patch-from"):
                yield _at_most_of(title, row, method, OF_ZSTD_PATCH)


def _at_most(title: str, found: int, most: int) -> Judged:
    return Judged(title, size(found), f"at most {size(most)}", _verdict(good=found <= most))


def _at_most_of(title: str, row: Row, method: str, share: float) -> Judged:
    rival = row.wire_bytes.get(method)
    if not rival:
        return Judged(f"{title}, of {method}", "", f"at most {share:g}", "not measured")
    ratio = row.wire_bytes[OURS] / rival
    return Judged(
        f"{title}, of {method}", f"{ratio:.2f}", f"at most {share:g}", _verdict(good=ratio <= share)
    )


def _verdict(*, good: bool) -> Verdict:
    return "met" if good else "missed"


def size(count: int) -> str:
    """Bytes for people."""
    if count < 10 * KiB:
        return f"{count} B"
    return f"{count / KiB:.1f} KiB" if count < MiB else f"{count / MiB:.2f} MiB"
