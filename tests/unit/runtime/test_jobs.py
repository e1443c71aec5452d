import pytest

from skerry_agent.runtime.errors import InvalidRequestError, QueueFullError
from skerry_agent.runtime.jobs import Jobs
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import RuntimeLimits
from skerry_agent.runtime.requests import EmbedRequest, GenerateRequest
from skerry_agent.runtime.wire import Cancelled, Failed, Progress, Token, WireError

REQUEST = GenerateRequest(prompt="Hi")


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _jobs(clock: _Clock | None = None, *, max_queue: int = 1) -> tuple[Jobs, Meter]:
    meter = Meter()
    limits = RuntimeLimits(max_queue=max_queue)
    return Jobs("tiny@1", slots=1, limits=limits, meter=meter, clock=clock or _Clock()), meter


def test_one_runs_and_max_queue_wait() -> None:
    jobs, meter = _jobs(max_queue=1)
    jobs.admit(REQUEST)
    jobs.admit(REQUEST)
    with pytest.raises(QueueFullError, match="tiny@1 is busy and 1 requests wait") as caught:
        jobs.admit(REQUEST)
    assert caught.value.retry_after_s >= 1
    assert (meter.requests, meter.refused, len(jobs), jobs.waiting) == (2, 1, 2, 2)


def test_without_a_queue_one_request_runs() -> None:
    jobs, _ = _jobs(max_queue=0)
    jobs.admit(REQUEST)
    with pytest.raises(QueueFullError):
        jobs.admit(REQUEST)


def test_a_bad_request_takes_no_place() -> None:
    jobs, meter = _jobs()
    with pytest.raises(InvalidRequestError):
        jobs.admit(GenerateRequest())
    assert (len(jobs), meter.requests, meter.refused) == (0, 0, 1)


def test_messages_reach_their_request_and_the_last_frees_its_place() -> None:
    jobs, _ = _jobs()
    (first, _), (second, _) = jobs.admit(REQUEST), jobs.admit(REQUEST)
    jobs.take(Progress(first.number))
    assert jobs.waiting == 1
    jobs.take(Token(second.number, "x"))
    jobs.take(Cancelled(second.number))
    assert first.messages.empty()
    assert second.messages.qsize() == 2
    assert len(jobs) == 1


def test_an_abandoned_request_keeps_its_place_until_the_runner_confirms() -> None:
    jobs, _ = _jobs()
    job, _ = jobs.admit(REQUEST)
    assert jobs.abandon(job)
    jobs.take(Token(job.number, "x"))
    assert len(jobs) == 1
    jobs.take(Cancelled(job.number))
    assert len(jobs) == 0
    assert job.messages.empty()
    assert not jobs.abandon(job)


def test_a_message_for_nobody_breaks_the_protocol() -> None:
    jobs, _ = _jobs()
    with pytest.raises(WireError):
        jobs.take(Token(7, "x"))


def test_all_are_told_when_the_runner_is_gone() -> None:
    jobs, _ = _jobs()
    job, _ = jobs.admit(REQUEST)
    assert jobs.end() == 1
    assert job.messages.get_nowait() is None
    assert len(jobs) == 0


def test_standing_still_is_measured_from_the_last_message_or_the_first_request() -> None:
    clock = _Clock()
    jobs, _ = _jobs(clock)
    clock.now = 100
    assert jobs.stalled_s == 0
    job, _ = jobs.admit(REQUEST)
    clock.now = 107
    assert jobs.stalled_s == 7
    jobs.take(Progress(job.number))
    assert jobs.stalled_s == 0


def _by(client: str) -> GenerateRequest:
    return GenerateRequest(prompt="Hi", client=client)


def test_a_client_with_many_waiting_makes_place_for_one_with_few() -> None:
    jobs, _ = _jobs(max_queue=3)
    many = [jobs.admit(_by("many"))[0] for _ in range(4)]
    jobs.take(Progress(many[0].number))
    few, displaced = jobs.admit(_by("few"))
    assert displaced is many[3]
    message = many[3].messages.get_nowait()
    assert isinstance(message, Failed)
    assert message.code == "expired"
    jobs.take(Cancelled(many[3].number))
    assert many[3].messages.empty()
    # Now they have two and one: taking turns with displacing each other would serve nobody.
    with pytest.raises(QueueFullError):
        jobs.admit(_by("few"))
    with pytest.raises(QueueFullError):
        jobs.admit(_by("many"))
    assert few.messages.empty()


def test_what_runs_already_is_not_displaced() -> None:
    jobs, _ = _jobs(max_queue=1)
    for _ in range(2):
        job, _ = jobs.admit(_by("many"))
        jobs.take(Progress(job.number))
    with pytest.raises(QueueFullError):
        jobs.admit(_by("few"))


def test_vectors_count_like_answers() -> None:
    jobs, meter = _jobs(max_queue=0)
    with pytest.raises(InvalidRequestError):
        jobs.admit_embed(EmbedRequest(()))
    jobs.admit_embed(EmbedRequest(("Hi",)))
    with pytest.raises(QueueFullError):
        jobs.admit(REQUEST)
    assert (meter.requests, meter.refused) == (1, 2)
