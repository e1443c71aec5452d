from skerry_agent.runtime.long_step import LongStep


class _Steps:
    def __init__(self) -> None:
        self.now = 0.0
        self.broken = 0
        self.long = LongStep(self._break_off, lambda: self.now)

    def _break_off(self) -> None:
        self.broken += 1


def test_nobody_breaks_off_a_short_step() -> None:
    steps = _Steps()
    steps.long.somebody_left()
    steps.long.somebody_came()
    steps.long.begin()
    steps.long.end()
    steps.long.somebody_left()
    assert steps.broken == 0


def test_who_leaves_breaks_a_long_step_off_at_any_time() -> None:
    steps = _Steps()
    steps.long.begin()
    steps.now = 0.39
    steps.long.somebody_left()
    assert steps.broken == 1


def test_who_comes_waits_for_a_step_that_is_nearly_over() -> None:
    steps = _Steps()
    steps.long.begin()
    steps.now = 0.31
    steps.long.somebody_came()
    assert steps.broken == 0


def test_a_stream_of_new_requests_cannot_stop_the_reading() -> None:
    steps = _Steps()
    lost = 0.0
    while steps.now < 60:
        steps.long.begin()
        before = steps.broken
        steps.now += 0.2
        steps.long.somebody_came()
        lost += 0.2 if steps.broken > before else 0.0
        steps.now += 0.2 if steps.broken == before else 0.0
        steps.long.end()
    assert steps.broken > 1
    assert lost < 60 * 0.1 + 0.3 + 0.2
