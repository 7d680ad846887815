"""The ledger on moto: whatever is written and repeated, it agrees with the jobs."""

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
from sd3.adapters.dynamodb import reservation
from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.adapters.dynamodb.table import to_item
from sd3.domain.billing import NO_USAGE, Charge, ChargeOutcome, Quote, UsageEntry
from sd3.domain.client import JWT_CLIENTS, NO_LIMITS, ClientLimits
from sd3.domain.job import (
    IdempotencyRecord,
    ImageRecord,
    Job,
    JobChange,
    JobStatus,
)
from sd3.errors import (
    BudgetExceededError,
    LeaseLostError,
    RateLimitedError,
    Sd3Error,
    StorageBusyError,
    StorageError,
)
from tests.integration.conftest import make_jobs_tables
from tests.support.factories.stored_jobs import job as any_job
from tests.support.fakes.contended_dynamodb import Contended, Unreliable
from tests.support.fakes.jobs_stream import JobsStream
from tests.support.fakes.ports import NOON

DAY: Final = NOON.date().isoformat()
SHARED: Final = ClientLimits(total_daily_budget_micros=100_000)
QUOTE: Final = Quote(upstream="fake", micros=30_000)
LATE: Final = NOON + timedelta(hours=1)
JOBS: Final = 5
FATES: Final = st.sampled_from(["done"] * 4 + ["not sent", "response lost", "repeated", "met"])
BUDGETS: Final = (400_000, 200_000)
"""Of ann: at first, and after an operator has lowered it."""


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
    """Clients, workers and operators who write what they have read, and a stream that repeats."""

    def __init__(self, aws: Aws, number: str) -> None:
        super().__init__()
        make_jobs_tables(aws, number)
        self.connection = Unreliable(aws.dynamodb)
        self.store = JobStore(
            cast("Any", self.connection),
            f"jobs{number}",
            usage_table=f"usage{number}",
            sleep=lambda _: None,
        )
        self.usages = UsageStore(aws.dynamodb, f"usage{number}")
        self.stream = JobsStream(f"jobs{number}")
        self.changes: list[JobChange] = []
        self.recorded_until = 0
        self.budget = BUDGETS[0]
        self.ids: list[str] = []
        self.seen: dict[str, list[Job]] = {}
        self.deleted: list[Job] = []

    @precondition(lambda self: len(self.seen) < JOBS)
    @rule(
        key=st.sampled_from([None, "k", "l"]),
        who=st.sampled_from(["nobody", "ann", "ann", "ann", "all"]),
        micros=st.sampled_from([30_000, 60_000, 110_000]),
        fate=FATES,
    )
    def create(self, key: str | None, who: str, micros: int, fate: str) -> None:
        quote = Quote(upstream="fake", micros=micros)
        job = queued(f"j-{len(self.ids)}", quote=quote)
        self.ids.append(job.id)
        budget = {"ann": self.budget, "all": SHARED.total_daily_budget_micros}.get(who)
        limits = SHARED if who == "all" else ClientLimits(daily_budget_micros=budget)
        before = self.recorded(JWT_CLIENTS if who == "all" else "ann").committed
        self.connection.fate = fate
        try:
            done = self.created(job, key, limits)
        except BudgetExceededError:
            assert budget is not None
            assert before + micros > budget
        except StorageError:
            pass
        else:
            assert not (done and budget is not None and before + micros > budget)

    def created(self, job: Job, key: str | None, limits: ClientLimits) -> bool:
        if key is None:
            return self.store.create(job, limits=limits) is not None
        found = self.store.create_once(job, key, fingerprint="hash", instead_of=None, limits=limits)
        return isinstance(found, Job)

    @rule()
    def lower_the_budget(self) -> None:
        self.budget = BUDGETS[1]

    @rule(data=st.data())
    def record(self, data: Any) -> None:
        """Hand some changes over that are new, and some of before once more."""
        self.changes += changes_of(self.stream)
        at = self.recorded_until
        begin = data.draw(st.integers(max(at - 3, 0), at))
        end = data.draw(st.integers(at, len(self.changes)))
        self.usages.record(self.changes[begin:end], now=NOON)
        self.recorded_until = end

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
    def see(self) -> None:
        self.connection.fate = "done"
        for job in self.jobs():
            versions = self.seen.setdefault(job.id, [])
            if job not in versions:
                versions.append(job)

    def jobs(self) -> list[Job]:
        return [job for job_id in self.ids if (job := self.stored(job_id))]

    def teardown(self) -> None:
        self.changes += changes_of(self.stream)
        self.usages.record(self.changes[self.recorded_until :], now=NOON)
        self.usages.record(self.changes, now=NOON)
        total = shared = NO_USAGE
        for job in [*self.jobs(), *self.deleted]:
            total += job.usage
            shared += job.usage if JWT_CLIENTS in job.budgets else NO_USAGE
        assert self.recorded() == total
        assert self.recorded(JWT_CLIENTS).committed == shared.committed


def changes_of(stream: JobsStream) -> list[JobChange]:
    images = [record["dynamodb"] for record in stream.read()]
    return [
        JobChange(
            job_from(one["OldImage"]) if "document" in one.get("OldImage", {}) else None,
            job_from(one["NewImage"]),
        )
        for one in images
        if "document" in one["NewImage"]
    ]


def test_the_ledger_is_the_sum_of_the_jobs_after_every_history(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "LOTS", 2)  # so that these few jobs fill them
    numbers = count(1)

    class OfThisTest(Histories):
        def __init__(self) -> None:
            super().__init__(aws, str(next(numbers)))

    run_state_machine_as_test(
        OfThisTest,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs", usage_table="usage")


@pytest.fixture
def stream() -> JobsStream:
    return JobsStream()


@pytest.fixture
def recorded(aws: Aws, stream: JobsStream) -> "Recorded":
    def read(day: str = DAY, *, client_id: str = "ann") -> UsageEntry:
        UsageStore(aws.dynamodb, "usage").record(changes_of(stream), now=NOON)
        return ledger(aws, day, client_id=client_id)

    return read


Recorded = Callable[..., UsageEntry]
"""Returns the usage of a day once the stream is processed."""


def ledger(aws: Aws, day: str = DAY, *, client_id: str = "ann") -> UsageEntry:
    days = UsageStore(aws.dynamodb, "usage").days(client_id, since=day, until=day)
    return days[0].usage if days else NO_USAGE


def test_a_stale_reader_of_a_requeued_attempt_records_nothing(
    store: JobStore, recorded: Recorded
) -> None:
    store.create(queued())
    store.save(started(store.get("a", now=NOON)))
    seen = store.get("a", now=NOON)
    store.save(CHANGES["requeue"](seen))
    with pytest.raises(LeaseLostError):
        store.save(CHANGES["take over"](seen))
    assert recorded() == UsageEntry(reserved=30_000, spent=30_000)


def test_the_whole_cost_of_a_job_belongs_to_the_day_of_its_creation(
    store: JobStore, recorded: Recorded
) -> None:
    store.create(queued(created_at=NOON - timedelta(hours=13)))
    store.save(started(store.get("a", now=NOON)))
    store.save(generated(store.get("a", now=NOON)))
    assert recorded() == NO_USAGE
    assert recorded("2026-11-22") == UsageEntry(spent=30_000, images=1)


def test_a_job_without_a_quote_is_recorded_when_it_is_claimed(
    store: JobStore, recorded: Recorded
) -> None:
    store.create(queued(quote=None))
    assert recorded() == NO_USAGE
    store.save(started(store.get("a", now=NOON)))
    assert recorded() == UsageEntry(reserved=30_000)


def test_a_budget_that_is_too_small_for_the_first_job_of_a_day_rejects_it(
    store: JobStore, recorded: Recorded
) -> None:
    with pytest.raises(BudgetExceededError, match=r"takes \$0\.03, .* \$0\.02 is left"):
        store.create(queued(), limits=ClientLimits(daily_budget_micros=20_000))
    assert recorded() == NO_USAGE
    assert store.create(queued(), limits=ClientLimits(daily_budget_micros=30_000))


def test_a_minute_has_its_requests_and_the_next_one_has_them_again(
    store: JobStore, recorded: Recorded
) -> None:
    limits = ClientLimits(requests_per_minute=2)
    at_last = NOON + timedelta(seconds=48)
    for job_id in "ab":
        assert store.create(queued(job_id), limits=limits)
    with pytest.raises(RateLimitedError) as caught:
        store.create(queued("c", created_at=at_last), limits=limits)
    assert caught.value.retry_after == 12
    assert recorded() == UsageEntry(reserved=60_000)
    assert store.create(queued("c", created_at=NOON + timedelta(minutes=1)), limits=limits)
    assert store.create(queued("d", client_id="bob"), limits=limits)


def test_clients_with_jwts_share_a_budget_to_the_last_micro_dollar(
    store: JobStore, recorded: Recorded
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
    assert recorded(client_id=JWT_CLIENTS) == UsageEntry(reserved=60_000)
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
    store: JobStore, limits: ClientLimits, message: str, recorded: Recorded
) -> None:
    with pytest.raises(BudgetExceededError, match=message):
        store.create(queued(), limits=limits)
    assert (recorded(), recorded(client_id=JWT_CLIENTS)) == (NO_USAGE, NO_USAGE)


def test_a_job_that_costs_what_was_reserved_changes_its_budgets_once(
    aws: Aws, store: JobStore, recorded: Recorded
) -> None:
    store.create(queued(), limits=ClientLimits(100_000, total_daily_budget_micros=100_000))
    for owner in ("ann", JWT_CLIENTS):
        day: Any = {"client_id": {"S": owner}, "day": {"S": DAY}}
        aws.dynamodb.delete_item(TableName="usage", Key=day)
    store.save(generated(store.save(started(store.get("a", now=NOON)))))
    recorded()
    items = aws.dynamodb.scan(TableName="usage")["Items"]
    days = {item["day"]["S"] for item in items if "#" not in item["client_id"]["S"]}
    assert days == {f"{DAY}#spent"}


def test_a_rate_is_told_from_the_budgets_beside_it(store: JobStore) -> None:
    limits = ClientLimits(90_000, 1, None, 90_000)
    assert store.create(queued("a"), limits=limits)
    with pytest.raises(RateLimitedError):
        store.create(queued("b"), limits=limits)


def test_the_usage_table_has_a_clients_name_for_people(
    aws: Aws, store: JobStore, recorded: Recorded
) -> None:
    store.create(queued("a", client_name="anna@example.com"), limits=SHARED)
    store.save(generated(store.save(started(store.get("a", now=NOON)))))
    recorded()
    items = aws.dynamodb.scan(TableName="usage")["Items"]
    items = [item for item in items if "ttl" in item and "#" not in item["client_id"]["S"]]
    names = {item["client_id"]["S"]: item.get("client_name", {}).get("S") for item in items}
    assert names == {"ann": "anna@example.com", JWT_CLIENTS: None}


def test_what_does_not_fit_the_budget_does_not_count_for_the_minute(store: JobStore) -> None:
    limits = ClientLimits(daily_budget_micros=50_000, requests_per_minute=2)
    store.create(queued("a"), limits=limits)
    with pytest.raises(BudgetExceededError):
        store.create(queued("b"), limits=limits)
    assert store.create(queued("c", quote=None), limits=limits)


def test_what_is_there_comes_before_what_there_is_no_room_for(store: JobStore) -> None:
    limits = ClientLimits(daily_budget_micros=30_000)
    assert take(store, queued("a"), limits) is None
    assert take(store, queued("b"), limits) == IdempotencyRecord("a", "hash")
    assert not store.create(queued("a"), limits=limits)
    with pytest.raises(BudgetExceededError):
        store.create(queued("c"), limits=limits)


def test_a_known_key_does_not_count_for_the_minute(store: JobStore) -> None:
    limits = ClientLimits(requests_per_minute=2)
    assert take(store, queued("a"), limits) is None
    for job_id in "bc":
        assert take(store, queued(job_id), limits) == IdempotencyRecord("a", "hash")
    assert store.create(queued("d"), limits=limits)
    with pytest.raises(RateLimitedError):
        store.create(queued("e"), limits=limits)


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


def test_jobs_at_once_without_a_budget_never_meet(aws: Aws, recorded: Recorded) -> None:
    contended = Contended(aws.dynamodb)
    store = JobStore(cast("Any", contended), "jobs", usage_table="usage")

    def live(n: int) -> None:
        job = store.create(queued(f"j-{n}"))
        assert job
        store.save(generated(store.save(started(job))))

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(live, range(20)))
    assert contended.conflicts == 0
    assert recorded() == UsageEntry(spent=600_000, images=20)


@pytest.mark.parametrize(
    "limits",
    [ClientLimits(daily_budget_micros=640_000), ClientLimits(total_daily_budget_micros=640_000)],
)
def test_jobs_at_once_use_a_budget_to_the_last_micro_dollar_and_never_exceed_it(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, recorded: Recorded, limits: ClientLimits
) -> None:
    monkeypatch.setattr(reservation, "LOTS", 3)
    contended = Contended(aws.dynamodb)
    stores = [JobStore(cast("Any", contended), "jobs", usage_table="usage") for _ in range(4)]

    def ask(n: int) -> bool:
        with suppress(BudgetExceededError):
            while True:
                with suppress(StorageBusyError):  # a 503, which its client repeats
                    return bool(stores[n % 4].create(queued(f"j-{n}"), limits=limits))
        return False

    with ThreadPoolExecutor(12) as threads:
        created = list(threads.map(ask, range(30)))
    assert contended.conflicts > 0
    assert created.count(True) == 21
    assert any("lot-" in item["day"]["S"] for item in aws.dynamodb.scan(TableName="usage")["Items"])
    owner = JWT_CLIENTS if limits.total_daily_budget_micros else "ann"
    assert recorded(client_id=owner) == UsageEntry(reserved=630_000)
    with pytest.raises(BudgetExceededError, match=r"share|\$0\.01 is left"):
        stores[0].create(queued("last"), limits=limits)


def test_what_a_job_gives_back_can_be_reserved_again(store: JobStore, recorded: Recorded) -> None:
    limits = ClientLimits(daily_budget_micros=30_000)
    job = store.create(queued(), limits=limits)
    assert job
    store.save(job.cancel(now=NOON))
    assert recorded() == NO_USAGE
    assert store.create(queued("b"), limits=limits)


def test_a_batch_of_many_jobs_and_clients_is_recorded_whatever_was_recorded_before(
    aws: Aws, store: JobStore, stream: JobsStream
) -> None:
    for number in range(150):
        assert store.create(queued(f"j-{number}", client_id=f"c-{number % 70}"))
    changes = changes_of(stream)
    usages = UsageStore(aws.dynamodb, "usage")
    usages.record([*changes[30:60], *changes[30:40]], now=NOON)
    usages.record(changes, now=NOON)
    assert [ledger(aws, client_id=f"c-{n}").reserved for n in (0, 9, 10, 69)] == [
        90_000,
        90_000,
        60_000,
        60_000,
    ]


def put_lots(aws: Aws, *, committed: int, lots: int, each: int, budget: int) -> None:
    """Write ann's day as contention has left it: a part of the budget lies in lots."""
    day = {"client_id": "ann", "day": DAY, "committed": committed}
    aws.dynamodb.put_item(TableName="usage", Item=to_item(day))
    for number in range(lots):
        lot = {"client_id": "ann", "day": f"{DAY}#lot-{number:02}", "lot": each, "budget": budget}
        aws.dynamodb.put_item(TableName="usage", Item=to_item(lot))


@pytest.mark.parametrize(
    ("lots", "each"),
    [
        (2, 15_000),
        pytest.param(100, 300, id="more lots than a transaction has parts"),
    ],
)
def test_a_job_takes_the_last_of_a_budget_from_all_its_lots(
    aws: Aws, store: JobStore, lots: int, each: int
) -> None:
    limits = ClientLimits(daily_budget_micros=50_000)
    put_lots(aws, committed=50_000, lots=lots, each=each, budget=50_000)
    assert ledger(aws).committed == 20_000
    assert store.create(queued("a"), limits=limits)
    assert ledger(aws).committed == 50_000
    with pytest.raises(BudgetExceededError, match=r"\$0\.00 is left"):
        store.create(queued("b", quote=Quote(upstream="fake", micros=1)), limits=limits)


@pytest.mark.parametrize("is_contended", [False, True])
@pytest.mark.parametrize("lots", [5, 50, 100])
@pytest.mark.parametrize(("budget", "fits"), [(80_000, True), (79_999, False), (200_000, True)])
def test_a_budget_that_was_changed_while_it_lay_in_lots_is_exact(
    aws: Aws, store: JobStore, budget: int, fits: bool, lots: int, is_contended: bool
) -> None:
    put_lots(aws, committed=100_000, lots=lots, each=50_000 // lots, budget=100_000)
    limits = ClientLimits(daily_budget_micros=budget)
    if is_contended:
        store._budgets.contention.note("ann", now=NOON)
    with suppress(BudgetExceededError):
        store.create(queued("a"), limits=limits)
    assert ledger(aws).committed == (80_000 if fits else 50_000)
