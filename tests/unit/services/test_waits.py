"""How many waits for a job a client may begin: two in these tests, over fakes."""

from datetime import timedelta

import pytest

from sd3.errors import StillRunningError, StorageError
from sd3.services.jobs import JobService
from tests.support.fakes.changing_jobs import END, ChangingJobs, job, running, serve
from tests.support.fakes.ports import FakeCounts, FakeTime


def waited(
    service: JobService, clock: FakeTime, client_id: str = "ann", *, seconds: float = 20
) -> float:
    """Return for how long a client waits that prefers to wait for `seconds`."""
    before = clock.slept
    job_id = "job-1" if client_id == "ann" else "job-2"
    found = service.get_job(job_id, client_id=client_id, wait_seconds=seconds)
    assert found.has_waited == (clock.slept > before or seconds == 0)
    return clock.slept - before


def test_a_client_that_has_begun_its_waits_is_answered_at_once() -> None:
    clock = FakeTime()
    service = serve(ChangingJobs(job(), job("job-2", client_id="bob")), clock=clock)
    assert [waited(service, clock) for _ in range(4)] == [20, 20, 0, 0]
    assert waited(service, clock, "bob") == 20


def test_only_what_keeps_a_function_busy_is_counted() -> None:
    ended = job("job-3").model_copy(update=END)
    counts, clock = FakeCounts(), FakeTime()
    service = serve(ChangingJobs(running(), ended), counts=counts, clock=clock)
    waited(service, clock, seconds=0)
    assert service.get_job("job-3", client_id="ann", wait_seconds=20).has_waited
    changed = frozenset(['"another"'])
    assert service.get_job("job-1", client_id="ann", wait_seconds=20, known_tags=changed)
    assert not counts.waits
    waited(service, clock)
    assert counts.waits == {"ann": 1}


def test_a_wait_that_cannot_be_counted_is_none(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeTime()
    counts = FakeCounts(error=StorageError("no table"))
    assert waited(serve(ChangingJobs(job()), counts=counts, clock=clock), clock) == 0
    assert "wait not counted" in caplog.messages


@pytest.mark.parametrize(("is_bounded", "seconds"), [(True, 0), (False, 26)])
def test_a_held_call_is_over_at_once_only_if_it_can_be_repeated_for_nothing(
    is_bounded: bool, seconds: float
) -> None:
    clock, waiting = FakeTime(), job()
    service = serve(ChangingJobs(waiting), clock=clock)
    for _ in range(2):
        waited(service, clock, seconds=1)
    before, until = clock.slept, service.clock.now() + timedelta(seconds=26)
    with pytest.raises(StillRunningError):
        service.waits.hold(waiting, until=until, is_bounded=is_bounded)
    assert clock.slept - before == seconds
