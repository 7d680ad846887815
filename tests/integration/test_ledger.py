"""The ledger on moto: whatever is written, in whatever order, it agrees with the jobs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.domain.billing import NO_USAGE, Charge, ChargeOutcome, Quote, UsageEntry
from sd3.domain.client import JWT_CLIENTS, NO_LIMITS, ClientLimits
from sd3.domain.job import (
    IdempotencyRecord,
    ImageRecord,
    Job,
    JobStatus,
)
from sd3.errors import BudgetExceededError, LeaseLostError, RateLimitedError, Sd3Error, StorageError
from tests.integration.conftest import make_jobs_tables
from tests.support.factories.stored_jobs import job as any_job
from tests.support.fakes.contended_dynamodb import Contended, Unreliable
from tests.support.fakes.ports import NOON

DAY: Final = NOON.date().isoformat()
BUDGET: Final = ClientLimits(daily_budget_micros=100_000)
SHARED: Final = ClientLimits(total_daily_budget_micros=100_000)
QUOTE: Final = Quote(upstream="fake", micros=30_000)
LATE: Final = NOON + timedelta(hours=1)
JOBS: Final = 3
FATES: Final = st.sampled_from(["done"] * 4 + ["not sent", "response lost", "repeated"])


def queued(job_id: str = "a", **changes: Any) -> Job:
    waiting = {"status": JobStatus.QUEUED, "attempt": 0, "lease_until": None, "quote": QUOTE}
    return any_job(job_id, **(waiting | changes))


def paid(job: Job, micros: int) -> Job:
    return job.charge([Charge(upstream="fake", outcome=ChargeOutcome.CHARGED, micros=micros)])


def generated(job: Job) -> Job:
    records = (ImageRecord(index=0, seed=1, key="0.jpg"), ImageRecord(index=1, seed=2))
    noted = paid(job, 30_000).note_images(records, prediction_time_ms=1.0, ignored=())
    return noted.succeed(now=NOON)


def started(job: Job, *, micros: int = 30_000) -> Job:
    return job.start(now=NOON, seconds=0, quote=Quote(upstream="fake", micros=micros))


CHANGES: Final[dict[str, Callable[[Job], Job]]] = {
    "start": started,
    "start dearer": lambda job: started(job, micros=80_000),
    "take over": lambda job: started(job.charge_unknown().requeue(counted=True)),
    "succeed": generated,
    "requeue": lambda job: paid(job, 30_000).requeue(counted=True),
    "fail": lambda job: job.fail(Sd3Error("no"), now=NOON),
    "cancel": lambda job: job.cancel(now=NOON),
    "settle": lambda job: job.settle(
        (Charge(upstream="fake", outcome=ChargeOutcome.CHARGED, micros=10_000),)
    ),
    "redrive": lambda job: job.redrive(now=NOON),
}


FITTING: Final = {
    JobStatus.QUEUED: ["start", "start dearer", "cancel"],
    JobStatus.RUNNING: ["take over", "succeed", "requeue", "requeue", "fail", "cancel"],
    JobStatus.FAILED: ["redrive"],
    JobStatus.CANCELED: ["settle"],
}
"""What is done to a job, as far as is known."""


class Histories(RuleBasedStateMachine):
    """Clients, workers and operators who write what they have read, sooner or later."""

    def __init__(self, aws: Aws, number: str) -> None:
        super().__init__()
        make_jobs_tables(aws, number)
        self.connection = Unreliable(aws.dynamodb)
        self.store = JobStore(
            cast("Any", self.connection), f"jobs{number}", usage_table=f"usage{number}"
        )
        self.usages = UsageStore(aws.dynamodb, f"usage{number}")
        self.ids: list[str] = []
        self.seen: dict[str, list[Job]] = {}
        self.deleted: list[Job] = []

    @precondition(lambda self: len(self.seen) < JOBS)
    @rule(
        key=st.sampled_from([None, "k", "l"]),
        limits=st.sampled_from([NO_LIMITS, BUDGET, BUDGET, SHARED]),
        micros=st.sampled_from([30_000, 60_000, 110_000]),
        fate=FATES,
    )
    def create(self, key: str | None, limits: ClientLimits, micros: int, fate: str) -> None:
        quote = Quote(upstream="fake", micros=micros)
        job = queued(f"j-{len(self.ids)}", quote=quote)
        self.ids.append(job.id)
        before = self.recorded(JWT_CLIENTS if limits is SHARED else "ann").committed
        self.connection.fate = fate
        try:
            done = self.created(job, key, limits)
        except BudgetExceededError:
            assert before + micros > 100_000
        except StorageError:
            pass
        else:
            assert not (done and limits is not NO_LIMITS and before + micros > 100_000)

    def created(self, job: Job, key: str | None, limits: ClientLimits) -> bool:
        if key is None:
            return self.store.create(job, limits=limits) is not None
        found = self.store.create_once(job, key, fingerprint="hash", instead_of=None, limits=limits)
        return isinstance(found, Job)

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), fate=FATES, late=st.booleans())
    def write(self, data: Any, fate: str, late: bool) -> None:
        job = self.read_by_somebody(data, late=late)
        if job.status is JobStatus.SUCCEEDED:
            return  # nothing changes it any more
        change = data.draw(st.sampled_from(FITTING[job.status]))
        self.connection.fate = fate
        with suppress(LeaseLostError, StorageError):
            self.store.save(CHANGES[change](job))

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), fate=FATES, late=st.booleans())
    def delete(self, data: Any, fate: str, late: bool) -> None:
        job = self.read_by_somebody(data, late=late)
        stored = self.stored(job.id)
        self.connection.fate = fate
        with suppress(LeaseLostError, StorageError):
            self.store.delete(job, now=NOON)
        self.connection.fate = "done"
        if stored and not self.stored(job.id):
            self.deleted.append(stored)

    def read_by_somebody(self, data: Any, *, late: bool) -> Job:
        """Choose a job as it is, or as a stale reader has seen it."""
        versions = self.seen[data.draw(st.sampled_from(sorted(self.seen)))]
        return data.draw(st.sampled_from(versions)) if late else versions[-1]

    def stored(self, job_id: str) -> Job | None:
        try:
            return self.store.get(job_id, now=NOON)
        except Sd3Error:
            return None

    def recorded(self, client_id: str = "ann") -> UsageEntry:
        days = self.usages.days(client_id, since=DAY, until=DAY)
        return days[0].usage if days else NO_USAGE

    @invariant()
    def the_ledger_is_the_sum_of_the_jobs(self) -> None:
        self.connection.fate = "done"
        jobs = [job for job_id in self.ids if (job := self.stored(job_id))]
        for job in jobs:
            versions = self.seen.setdefault(job.id, [])
            if job not in versions:
                versions.append(job)
        assert all(job.recorded == job.usage for job in jobs)
        total = shared = NO_USAGE
        for job in [*jobs, *self.deleted]:
            total += job.usage
            shared += job.usage if job.recorded_for else NO_USAGE
        assert self.recorded() == total
        assert self.recorded(JWT_CLIENTS).committed == shared.committed


def test_the_ledger_is_the_sum_of_the_jobs_after_every_history(aws: Aws) -> None:
    numbers = count(1)

    class OfThisTest(Histories):
        def __init__(self) -> None:
            super().__init__(aws, str(next(numbers)))

    run_state_machine_as_test(
        OfThisTest,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs", usage_table="usage")


def recorded(aws: Aws, day: str = DAY, *, client_id: str = "ann") -> UsageEntry:
    days = UsageStore(aws.dynamodb, "usage").days(client_id, since=day, until=day)
    return days[0].usage if days else NO_USAGE


def test_a_stale_reader_of_a_requeued_attempt_records_nothing(aws: Aws, store: JobStore) -> None:
    store.create(queued())
    store.save(started(store.get("a", now=NOON)))
    seen = store.get("a", now=NOON)
    store.save(CHANGES["requeue"](seen))
    with pytest.raises(LeaseLostError):
        store.save(CHANGES["take over"](seen))
    assert recorded(aws) == UsageEntry(reserved=30_000, spent=30_000)


def test_the_whole_cost_of_a_job_belongs_to_the_day_of_its_creation(
    aws: Aws, store: JobStore
) -> None:
    store.create(queued(created_at=NOON - timedelta(hours=13)))
    store.save(started(store.get("a", now=NOON)))
    store.save(generated(store.get("a", now=NOON)))
    assert recorded(aws) == NO_USAGE
    assert recorded(aws, "2026-11-22") == UsageEntry(spent=30_000, images=1)


def test_a_job_without_a_quote_is_recorded_when_it_is_claimed(aws: Aws, store: JobStore) -> None:
    store.create(queued(quote=None))
    assert recorded(aws) == NO_USAGE
    store.save(started(store.get("a", now=NOON)))
    assert recorded(aws) == UsageEntry(reserved=30_000)


def test_a_budget_that_is_too_small_for_the_first_job_of_a_day_rejects_it(
    aws: Aws, store: JobStore
) -> None:
    with pytest.raises(BudgetExceededError, match=r"takes \$0\.03, .* \$0\.02 is left"):
        store.create(queued(), limits=ClientLimits(daily_budget_micros=20_000))
    assert recorded(aws) == NO_USAGE
    assert store.create(queued(), limits=ClientLimits(daily_budget_micros=30_000))


def test_a_minute_has_its_requests_and_the_next_one_has_them_again(
    aws: Aws, store: JobStore
) -> None:
    limits = ClientLimits(requests_per_minute=2)
    at_last = NOON + timedelta(seconds=48)
    for job_id in "ab":
        assert store.create(queued(job_id), limits=limits)
    with pytest.raises(RateLimitedError) as caught:
        store.create(queued("c", created_at=at_last), limits=limits)
    assert caught.value.retry_after == 12
    assert recorded(aws) == UsageEntry(reserved=60_000)
    assert store.create(queued("c", created_at=NOON + timedelta(minutes=1)), limits=limits)
    assert store.create(queued("d", client_id="bob"), limits=limits)


def test_clients_with_jwts_share_a_budget_to_the_last_micro_dollar(
    aws: Aws, store: JobStore
) -> None:
    limits = ClientLimits(total_daily_budget_micros=90_000)
    for job_id, client_id in (("a", "ann"), ("b", "bob"), ("c", "cid")):
        assert store.create(queued(job_id, client_id=client_id), limits=limits)
    with pytest.raises(BudgetExceededError, match=r"share is used up .* 2026-11-24T00:00:00Z"):
        store.create(queued("d", client_id="dan"), limits=limits)
    with pytest.raises(BudgetExceededError):
        store.repeat_rejection("eve", 30_000, limits=limits, now=NOON)
    assert store.create(queued("e", client_id="acme"), limits=NO_LIMITS)
    store.save(store.get("b", now=NOON).cancel(now=NOON))
    assert recorded(aws, client_id=JWT_CLIENTS) == UsageEntry(reserved=60_000)
    assert store.create(queued("d", client_id="dan"), limits=limits)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ClientLimits(20_000, None, None, 20_000), r"of \$0\.02 a day"),
        (ClientLimits(30_000, None, None, 20_000), "share"),
        (ClientLimits(total_daily_budget_micros=0), "share"),
    ],
)
def test_a_job_over_one_of_two_budgets_is_recorded_in_neither(
    aws: Aws, store: JobStore, limits: ClientLimits, message: str
) -> None:
    with pytest.raises(BudgetExceededError, match=message):
        store.create(queued(), limits=limits)
    assert (recorded(aws), recorded(aws, client_id=JWT_CLIENTS)) == (NO_USAGE, NO_USAGE)


def test_a_job_that_costs_what_was_reserved_waits_once_for_what_clients_share(
    aws: Aws, store: JobStore
) -> None:
    store.create(queued(), limits=SHARED)
    group_day: Any = {"client_id": {"S": JWT_CLIENTS}, "day": {"S": DAY}}
    aws.dynamodb.delete_item(TableName="usage", Key=group_day)
    job = store.save(started(store.get("a", now=NOON)))
    store.save(generated(job))
    assert "Item" not in aws.dynamodb.get_item(TableName="usage", Key=group_day)
    assert recorded(aws) == UsageEntry(spent=30_000, images=1)


def test_a_rate_is_told_from_the_budgets_beside_it(store: JobStore) -> None:
    limits = ClientLimits(90_000, 1, None, 90_000)
    assert store.create(queued("a"), limits=limits)
    with pytest.raises(RateLimitedError):
        store.create(queued("b"), limits=limits)


def test_the_usage_table_has_a_clients_name_for_people(aws: Aws, store: JobStore) -> None:
    store.create(queued("a", client_name="anna@example.com"), limits=SHARED)
    store.save(started(store.get("a", now=NOON)))
    items = aws.dynamodb.scan(TableName="usage")["Items"]
    names = {item["client_id"]["S"]: item.get("client_name", {}).get("S") for item in items}
    assert names == {"ann": "anna@example.com", JWT_CLIENTS: None}
    assert recorded(aws) == UsageEntry(reserved=30_000)


def test_what_does_not_fit_the_budget_does_not_count_for_the_minute(store: JobStore) -> None:
    limits = ClientLimits(daily_budget_micros=50_000, requests_per_minute=2)
    store.create(queued("a"), limits=limits)
    with pytest.raises(BudgetExceededError):
        store.create(queued("b"), limits=limits)
    assert store.create(queued("c", quote=None), limits=limits)


def test_what_is_there_comes_before_what_there_is_no_room_for(store: JobStore) -> None:
    limits = ClientLimits(daily_budget_micros=30_000, requests_per_minute=1)
    assert take(store, queued("a"), limits) is None
    assert take(store, queued("b"), limits) == IdempotencyRecord("a", "hash")
    assert not store.create(queued("a"), limits=limits)
    with pytest.raises(BudgetExceededError):
        store.create(queued("c"), limits=limits)
    with pytest.raises(RateLimitedError):
        store.create(queued("c", quote=None), limits=limits)


def take(store: JobStore, job: Job, limits: ClientLimits) -> IdempotencyRecord | None:
    found = store.create_once(job, "key", fingerprint="hash", instead_of=None, limits=limits)
    return found if isinstance(found, IdempotencyRecord) else None


def test_a_rejection_is_repeated_without_a_call(store: JobStore) -> None:
    limits = ClientLimits(daily_budget_micros=50_000)
    store.create(queued("a"), limits=limits)
    store.repeat_rejection("ann", 30_000, limits=limits, now=NOON)
    with pytest.raises(BudgetExceededError):
        store.create(queued("b"), limits=limits)
    with pytest.raises(BudgetExceededError, match=r"takes \$0\.04, .* \$0\.02 is left"):
        store.repeat_rejection("ann", 40_000, limits=limits, now=NOON)
    store.repeat_rejection("bob", 40_000, limits=limits, now=NOON)


def test_twenty_concurrent_jobs_are_all_recorded(aws: Aws) -> None:
    contended = Contended(aws.dynamodb)
    store = JobStore(cast("Any", contended), "jobs", usage_table="usage")

    def live(n: int) -> None:
        job = store.create(queued(f"j-{n}"))
        assert job
        store.save(generated(store.save(started(job))))

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(live, range(20)))
    assert contended.conflicts > 0
    assert recorded(aws) == UsageEntry(spent=600_000, images=20)


def test_clients_at_once_never_exceed_the_budget_that_they_share(aws: Aws) -> None:
    store = JobStore(cast("Any", Contended(aws.dynamodb)), "jobs", usage_table="usage")
    limits = ClientLimits(total_daily_budget_micros=130_000)

    def ask(n: int) -> bool:
        with suppress(BudgetExceededError):
            return bool(store.create(queued(f"j-{n}", client_id=f"jwt-{n}"), limits=limits))
        return False

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(ask, range(8)))
    assert created.count(True) == 4
    assert recorded(aws, client_id=JWT_CLIENTS) == UsageEntry(reserved=120_000)
