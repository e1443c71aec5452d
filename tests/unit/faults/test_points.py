"""Which points are gone to."""

from faults.points import KINDS, Choice, Point, Step, plan

CHUNK = [Step("downloading", f"{what} state/{'ab' * 16}.part") for what in ("write", "sync")]
STEPS = [Step("start", "create state/updates.db"), *CHUNK * 4, Step("verifying", "sync state/files")]


def places(points: list[Point], story: str, kind: str = "lost") -> list[int]:
    return [point.at for point in points if (point.story, point.what) == (story, kind)]


def test_of_points_that_are_alike_the_first_and_the_last_are_gone_to() -> None:
    points = plan({"update": STEPS}, Choice())
    # The first write comes after the creation, the last sync before what follows: they are like no other.
    assert places(points, "update") == [1, 2, 3, 4, 7, 8, 9, 10]
    assert places(plan({"update": STEPS}, Choice(alike=True)), "update") == list(range(1, 11))


def test_what_an_earlier_story_had_is_left_out_of_the_next_but_for_a_few() -> None:
    other = [*STEPS, Step("going_back", "write state/catalog.db")]
    others = [str(number) for number in range(40)]
    points = plan({"update": STEPS, **dict.fromkeys(others, other)}, Choice())
    assert {10, 11} <= set(places(points, "0"))
    again = [at for story in others[1:] for at in places(points, story)]
    assert 0 < len(again) < len(others) * len(other) / 4


def test_only_writes_have_a_middle_and_only_one_story_a_crowded_disk() -> None:
    points = plan({"update": STEPS, "garbage": STEPS}, Choice(alike=True))
    assert places(points, "update", "kill_halfway") == [2, 4, 6, 8]
    assert places(points, "update", "crowded") == []
    assert places(points, "garbage", "crowded") == list(range(1, 11))


def test_a_sample_has_every_story_every_kind_and_places_from_all_over() -> None:
    stories = {str(number): STEPS for number in range(11)}
    points = plan(stories, Choice(sample=220))
    assert len(points) == 220
    for story in stories:
        assert {point.what for point in points if point.story == story} >= {*KINDS} - {"crowded"}
        assert {point.at for point in points if point.story == story} == set(range(1, 11))
