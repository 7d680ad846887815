"""The jobs table on moto: what is written, and on which condition."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.domain.job import IdempotencyRecord, Job, JobStatus
from sd3.errors import (
    GoneError,
    IdempotencyMismatchError,
    LeaseLostError,
    NotFoundError,
    StorageError,
)
from tests.support.factories.stored_jobs import job
from tests.support.fakes.contended_dynamodb import Unreliable
from tests.support.fakes.ports import NOON

QUEUED, RUNNING, FAILED = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs", usage_table="usage")


def test_a_job_is_stored_with_all_its_fields(store: JobStore) -> None:
    assert store.create(job())
    assert store.get("j", now=NOON) == job()


def test_an_id_is_taken_once(store: JobStore) -> None:
    store.create(job())
    assert not store.create(job(client_id="bob"))
    assert store.get("j", now=NOON).client_id == "ann"


def test_a_job_is_gone_from_its_expiry_on_for_its_client_only(store: JobStore) -> None:
    store.create(job())
    store.get("j", now=NOON + timedelta(days=1, seconds=-1))
    with pytest.raises(GoneError):
        store.get("j", client_id="ann", now=NOON + timedelta(days=1))
    with pytest.raises(NotFoundError):
        store.get("j", client_id="bob", now=NOON + timedelta(days=1))


def test_a_key_is_free_when_its_job_expires(store: JobStore) -> None:
    day = timedelta(days=1)  # the shortest retention that there is
    take(store, job())
    assert store.find_idempotency_record("ann", "key", now=NOON + day - timedelta(seconds=1))
    assert store.find_idempotency_record("ann", "key", now=NOON + day) is None
    assert take(store, job("k", created_at=NOON + day)) is None


def test_what_can_be_no_jobs_id_is_not_looked_up(aws: Aws) -> None:
    for job_id in ("", "key#ann#x", "x" * 129, "a/b", "ä"):
        with pytest.raises(NotFoundError):
            JobStore(aws.dynamodb, "nowhere", usage_table="nowhere").get(job_id, now=NOON)


@pytest.mark.parametrize("status", JobStatus)
def test_a_write_needs_the_version_that_was_read(store: JobStore, status: JobStatus) -> None:
    store.create(job(status=status))
    read = store.get("j", now=NOON)
    stored = store.save(read.model_copy(update={"failures": 1}))
    assert stored == store.get("j", now=NOON)
    assert (stored.version, stored.failures) == (1, 1)
    with pytest.raises(LeaseLostError):
        store.save(read.model_copy(update={"failures": 2}))
    assert store.get("j", now=NOON) == stored


def test_a_job_that_was_deleted_is_written_no_more(store: JobStore) -> None:
    store.create(job(status=FAILED))
    store.delete(job(), now=NOON)
    with pytest.raises(LeaseLostError):
        store.save(job())
    with pytest.raises(GoneError):
        store.get("j", now=NOON)


@pytest.mark.parametrize("status", [QUEUED, RUNNING])
def test_an_open_job_is_not_deleted(store: JobStore, status: JobStatus) -> None:
    store.create(job(status=status))
    with pytest.raises(LeaseLostError):
        store.delete(job(), now=NOON)
    assert store.get("j", now=NOON).status is status


def test_of_many_writes_at_once_one_succeeds(store: JobStore) -> None:
    store.create(job(status=QUEUED))

    def succeeds(n: int) -> bool:
        try:
            store.save(job(attempt=3, failures=n))
        except LeaseLostError:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(succeeds, range(20))).count(True) == 1


def test_a_deleted_job_is_gone_for_its_client_only_while_its_item_is_there(
    aws: Aws, store: JobStore
) -> None:
    store.create(job(status=FAILED))
    store.delete(job(), now=NOON)
    store.delete(job(), now=NOON)
    with pytest.raises(GoneError):
        store.get("j", client_id="ann", now=NOON + timedelta(days=2))
    with pytest.raises(NotFoundError):
        store.get("j", client_id="bob", now=NOON)
    assert not store.create(job())
    aws.dynamodb.delete_item(TableName="jobs", Key={"id": {"S": "j"}})  # as DynamoDB does
    with pytest.raises(NotFoundError):
        store.get("j", client_id="ann", now=NOON + timedelta(days=2))


def take(
    store: JobStore, taker: Job, *, of: str = "hash", old: str | None = None
) -> IdempotencyRecord | None:
    """Store a job with a key; return the key's earlier record, or None."""
    found = store.create_once(taker, "key", fingerprint=of, instead_of=old)
    return found if isinstance(found, IdempotencyRecord) else None


def test_a_key_and_its_job_are_written_together(store: JobStore) -> None:
    assert take(store, job("a")) is None
    assert take(store, job("b"), of="another") == IdempotencyRecord("a", "hash")
    assert store.get("a", now=NOON) == job("a")
    with pytest.raises(NotFoundError):
        store.get("b", now=NOON)


def test_a_key_is_its_clients_own(store: JobStore) -> None:
    take(store, job("a"))
    assert take(store, job("b", client_id="bob")) is None
    assert store.create_once(job("c"), "another", fingerprint="hash", instead_of=None) == job("c")


def test_a_key_is_free_after_a_day(store: JobStore) -> None:
    take(store, job("a"))
    almost = job("b", created_at=NOON + timedelta(days=1, seconds=-1))
    assert take(store, almost) == IdempotencyRecord("a", "hash")
    assert take(store, job("b", created_at=NOON + timedelta(days=1))) is None


def test_a_key_is_taken_from_the_job_that_was_named_only(store: JobStore) -> None:
    take(store, job("a"))
    assert take(store, job("b"), old="another") == IdempotencyRecord("a", "hash")
    assert take(store, job("b"), old="a") is None
    assert take(store, job("c"), old="a") == IdempotencyRecord("b", "hash")


def test_a_job_whose_id_exists_stores_no_key(store: JobStore) -> None:
    store.create(job("a"))
    with pytest.raises(IdempotencyMismatchError):
        take(store, job("a"))
    assert take(store, job("b")) is None


def test_a_place_is_taken_over_by_one_caller(store: JobStore) -> None:
    until = [NOON + timedelta(seconds=26, microseconds=n) for n in range(3)]
    store.create_once(job("a"), "key", fingerprint="hash", instead_of=None, held_until=until[0])
    record = store.find_idempotency_record("ann", "key", now=NOON)
    assert record == IdempotencyRecord("a", "hash", until[0])
    assert [store.hold(job("a"), "key", record, until=end) for end in until[1:]] == [True, False]
    assert store.find_idempotency_record("ann", "key", now=NOON) == record._replace(
        held_until=until[1]
    )
    take(store, job("b"), old="a")
    assert not store.hold(job("a"), "key", record, until=until[2])


def test_a_place_whose_taker_lost_the_answer_is_taken(aws: Aws, store: JobStore) -> None:
    until = [NOON + timedelta(seconds=26, microseconds=n) for n in range(2)]
    store.create_once(job("a"), "key", fingerprint="hash", instead_of=None, held_until=until[0])
    unreliable = Unreliable(aws.dynamodb)
    unreliable.fate = "repeated"
    taker = JobStore(unreliable, "jobs", usage_table="usage")  # type: ignore[arg-type]
    record = IdempotencyRecord("a", "hash", until[0])
    assert taker.hold(job("a"), "key", record, until=until[1])


def test_of_many_with_a_key_at_once_one_is_written(store: JobStore) -> None:
    with ThreadPoolExecutor(10) as threads:
        records = list(threads.map(lambda n: take(store, job(f"job-{n}")), range(20)))
    assert records.count(None) == 1
    written = f"job-{records.index(None)}"
    assert {record.job_id for record in records if record} == {written}
    assert store.get(written, now=NOON).id == written


def test_a_table_that_cannot_be_used_is_a_storage_error(aws: Aws) -> None:
    store = JobStore(aws.dynamodb, "nowhere", usage_table="nowhere")
    uses: tuple[Callable[[], object], ...] = (
        lambda: store.get("j", now=NOON),
        lambda: store.create(job()),
        lambda: take(store, job()),
        lambda: store.save(job()),
        lambda: store.delete(job(), now=NOON),
        lambda: store.page("ann", status=None, limit=9, after=None, now=NOON),
        lambda: list(store.failed_on("2026-11-23", since="a", until="b")),
    )
    for use in uses:
        with pytest.raises(StorageError):
            use()
