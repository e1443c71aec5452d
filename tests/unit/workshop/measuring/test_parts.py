"""Plans, meters and counts of the bench, on made-up systems."""

from pathlib import Path

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.measuring import BenchPlan, parse_numbers, rules_of_thumb, usual_plan
from skerry_controller.workshop.measuring.busy import Neighbours
from skerry_controller.workshop.measuring.energy import RaplMeter, SensorMeter, find_meter, why_none
from skerry_controller.workshop.measuring.held_memory import held_memory
from skerry_controller.workshop.measuring.page_cache import cached_share, drop_cached
from skerry_controller.workshop.measuring.samples import Sample, to_figure
from support.workshop_entries import entry


def test_a_plan_keeps_the_points_that_a_model_can_have() -> None:
    plan = BenchPlan(threads=(1, 2), batches=(128, 512), depths=(0, 100, 300), contexts=(64, 512))
    fitted = plan.fitted(256)
    assert (fitted.depths, fitted.batches, fitted.contexts) == ((0,), (128, 256), (64,))
    assert (fitted.prompt_tokens, fitted.answer_tokens) == (256, 64)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (BenchPlan(threads=(0,)), "--threads is from 1"),
        (BenchPlan(threads=()), "--threads"),
        (BenchPlan(threads=(1,), batches=(5000,)), "--batch is from 1 to 4096"),
        (BenchPlan(threads=(1,), depths=(512,), prompt_tokens=64), "give a smaller --depth"),
        (BenchPlan(threads=(1,), repetitions=0), "--repetitions"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(plan: BenchPlan, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan.fitted(256)


def test_numbers_come_in_rising_order_and_usual_threads_end_at_the_cores() -> None:
    assert parse_numbers("4,1,2,1", "threads") == (1, 2, 4)
    with pytest.raises(UsageError, match="--threads is whole numbers"):
        parse_numbers("1,two", "threads")
    assert usual_plan(6).threads == (1, 2, 4, 6)


def test_a_figure_has_median_lowest_highest_and_the_count() -> None:
    figure = to_figure(Sample("x", "ms", (3.0, 1.0, 2.0), {"threads": 2}))
    assert (figure.median, figure.low, figure.high, figure.repetitions) == (2.0, 1.0, 3.0, 3)


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")
    return path


def test_rapl_counts_packages_alone_and_across_the_counters_end(tmp_path: Path) -> None:
    caps = tmp_path / "sys/class/powercap"
    for zone, largest in (("intel-rapl:0", 1_000_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:0", 5)):
        write(caps / zone / "energy_uj", 900_000)
        write(caps / zone / "max_energy_range_uj", largest)
    meter = find_meter(tmp_path)
    assert isinstance(meter, RaplMeter)
    write(caps / "intel-rapl:0/energy_uj", 100_000)
    write(caps / "intel-rapl:1/energy_uj", 950_000)
    write(caps / "intel-rapl:0:0/energy_uj", 999_999)
    assert meter.joules() == pytest.approx(0.25)


def test_a_power_sensor_is_summed_up(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/hwmon/hwmon0/power1_input", 4_000_000)
    meter = find_meter(tmp_path)
    assert isinstance(meter, SensorMeter)
    try:
        first, started = meter.joules(), meter._at
        second = meter.joules()
        assert second - first == pytest.approx(4.0 * (meter._at - started), abs=1.0)
        assert second >= first >= 0
    finally:
        meter.close()


def test_a_machine_without_sensors_says_so(tmp_path: Path) -> None:
    assert find_meter(tmp_path) is None
    assert "no power sensor" in why_none(tmp_path)


def test_neighbours_are_told_from_a_quiet_machine(tmp_path: Path) -> None:
    stat = write(tmp_path / "stat", "cpu 100 0 100 1000 0 0 0 0 0 0")
    neighbours = Neighbours(tmp_path)
    write(stat, "cpu 100 0 100 100000 0 0 0 0 0 0")
    assert neighbours.note() is None
    write(stat, "cpu 90100 0 100 11000 0 0 0 0 0 0")
    assert "the machine was busy: others used" in str(neighbours.note())
    assert Neighbours(tmp_path / "nowhere").note() is None


def test_a_files_pages_can_be_dropped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1024 * 1024))
    path.read_bytes()
    assert cached_share(path) == 1.0
    drop_cached(path)
    share = cached_share(path)
    assert share is not None
    assert share <= 1.0  # a file system in memory keeps them


def test_pages_of_the_model_are_told_from_the_process_own(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    smaps = write(
        tmp_path / "smaps",
        f"7f00-7f10 r--s 00000000 fe:00 1 {model.resolve()}\nRss: 100 kB\nAnonymous: 0 kB\n"
        "7f20-7f30 rw-p 00000000 00:00 0 \nRss: 30 kB\nAnonymous: 20 kB",
    )
    held = held_memory(model, smaps)
    assert (held.rss, held.private, held.model) == (130 * 1024, 20 * 1024, 100 * 1024)


def test_rules_of_thumb_stand_beside_a_model() -> None:
    rules = rules_of_thumb(entry("small@1-q8_0"))
    assert (rules.step, rules.factor) == ("Q8_0", 1.5)
    assert rules.file_by_step["F16"] == 2 * 134_515_008
