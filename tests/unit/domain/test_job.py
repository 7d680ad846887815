"""The life of a job: every state, and every change that it allows or forbids."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest

from sd3.domain.billing import Charge, ChargeOutcome, Quote, UsageEntry
from sd3.domain.job import TRANSITIONS, ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import InvalidTransitionError, UpstreamError
from tests.support.fakes.ports import NOON

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED = JobStatus
QUOTE: Final = Quote(upstream="fake", micros=30_000)
ERROR: Final = UpstreamError("It failed.")
LATER: Final = NOON + timedelta(hours=1)

METHODS: Final[dict[str, Callable[[Job], Job]]] = {
    "start": lambda job: job.start(now=LATER, seconds=60, quote=QUOTE),
    "requeue": lambda job: job.requeue(counted=True),
    "succeed": lambda job: job.succeed(now=LATER),
    "fail": lambda job: job.fail(ERROR, now=LATER),
    "cancel": lambda job: job.cancel(now=LATER),
    "redrive": lambda job: job.redrive(now=LATER),
    "reuse": lambda one: one.reuse(job(SUCCEEDED), job(SUCCEEDED).images, now=LATER),
}
LEADS_TO: Final = {
    ("start", QUEUED): RUNNING,
    ("requeue", RUNNING): QUEUED,
    ("succeed", RUNNING): SUCCEEDED,
    ("fail", QUEUED): FAILED,
    ("fail", RUNNING): FAILED,
    ("cancel", QUEUED): CANCELED,
    ("cancel", RUNNING): CANCELED,
    ("redrive", FAILED): QUEUED,
    ("reuse", QUEUED): SUCCEEDED,
}


def job(status: JobStatus) -> Job:
    """Make a job in a state, by its own methods."""
    queued = Job(
        id="job-1",
        client_id="ann",
        status=QUEUED,
        created_at=NOON,
        expires_at=NOON + timedelta(days=30),
        request=GenerateRequest(prompt="a fox"),
        seeds=(7,),
        quote=QUOTE,
    )
    running = queued.start(now=NOON, seconds=60, quote=QUOTE)
    images = (ImageRecord(index=0, seed=7, key="ann/job-1/0.jpg"),)
    noted = running.note_images(images, prediction_time_ms=12.5, ignored=("steps",))
    return {
        QUEUED: queued,
        RUNNING: running,
        SUCCEEDED: noted.charge([charge()]).succeed(now=NOON),
        FAILED: running.charge([charge()]).fail(ERROR, now=NOON),
        CANCELED: running.cancel(now=NOON),
    }[status]


def charge(micros: int = 20_000) -> Charge:
    return Charge(upstream="fake", outcome=ChargeOutcome.CHARGED, micros=micros)


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("method", METHODS)
def test_a_change_leads_on_from_its_states_only(method: str, status: JobStatus) -> None:
    before = job(status)
    if (method, status) not in LEADS_TO:
        with pytest.raises(InvalidTransitionError, match=f"{status} cannot {method}"):
            METHODS[method](before)
        return
    after = METHODS[method](before)
    assert after.status is LEADS_TO[method, status]
    assert (after.completed_at is not None) == after.status.is_terminal
    assert before == job(status)  # a job never changes itself
    assert after.version == before.version  # the repository counts the writes


def test_the_docstring_has_the_table_of_the_code() -> None:
    rows = [line.split() for line in (Job.__doc__ or "").splitlines()]
    documented = {
        (words[0], JobStatus(word.strip(",")))
        for words in rows
        if words and words[0] in TRANSITIONS
        for word in words[1:-1]
        if word.strip(",") in set(JobStatus) and (words[0], JobStatus(word.strip(","))) in LEADS_TO
    }
    assert documented == set(LEADS_TO)
    assert {(name, one) for name, states in TRANSITIONS.items() for one in states} == documented


def test_an_attempt_has_a_number_a_lease_and_a_quote() -> None:
    dear = Quote(upstream="dear", micros=80_000)
    running = job(QUEUED).start(now=NOON, seconds=60, quote=dear)
    assert (running.attempt, running.quote) == (1, dear)
    assert running.lease_until == NOON + timedelta(seconds=70)
    again = running.requeue(counted=False).start(now=LATER, seconds=60, quote=QUOTE)
    assert (again.attempt, again.failures) == (2, 0)


def test_a_charge_is_of_the_attempt_that_made_it() -> None:
    second = job(RUNNING).charge([charge()]).requeue(counted=True)
    second = second.start(now=LATER, seconds=60, quote=QUOTE).charge_unknown()
    assert [(one.attempt, one.outcome, one.micros) for one in second.charges] == [
        (1, ChargeOutcome.CHARGED, 20_000),
        (2, ChargeOutcome.UNKNOWN, 30_000),
    ]
    assert second.cost_micros == 50_000


@pytest.mark.parametrize("status", set(JobStatus) - {RUNNING})
def test_only_a_running_attempt_can_have_an_unknown_charge(status: JobStatus) -> None:
    before = job(status)
    assert before.charge_unknown() == before


def test_a_canceled_job_counts_with_its_quote_until_it_is_settled() -> None:
    canceled = job(CANCELED)
    assert [one.outcome for one in canceled.charges] == [ChargeOutcome.UNKNOWN]
    settled = canceled.settle((charge(10_000),))
    assert (settled.status, settled.cost_micros) == (CANCELED, 10_000)


@pytest.mark.parametrize("status", set(JobStatus) - {CANCELED})
def test_only_a_canceled_job_is_settled(status: JobStatus) -> None:
    with pytest.raises(InvalidTransitionError):
        job(status).settle(())


def test_a_redriven_job_starts_anew_with_its_charges() -> None:
    again = job(FAILED).redrive(now=LATER)
    assert (again.failures, again.images, again.error, again.lease_until) == (0, (), None, None)
    assert (again.redriven_at, again.cost_micros) == (LATER, 20_000)
    assert again.redriven_attempt == again.attempt == 1


@pytest.mark.parametrize(
    ("status", "usage"),
    [
        (QUEUED, UsageEntry(reserved=30_000)),
        (RUNNING, UsageEntry(reserved=30_000)),
        (SUCCEEDED, UsageEntry(spent=20_000, images=1)),
        (FAILED, UsageEntry(spent=20_000)),
        (CANCELED, UsageEntry(spent=30_000)),
    ],
)
def test_usage_follows_from_the_job_alone(status: JobStatus, usage: UsageEntry) -> None:
    assert job(status).usage == usage
