"""make redrive on moto: what failed is queued again, once, and then generated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.worker import app as worker_app
from ops import redrive as command
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.errors import LeaseLostError, UpstreamRefusedError
from tests.integration.conftest import ENVIRONMENT, Functions, MotoStack, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream

JOB_ID = "c6Af9ESmIAMEbxg"
DAY = timedelta(days=1)


@pytest.fixture
def stack(aws: Aws) -> MotoStack:
    return MotoStack(aws)


@pytest.fixture
def now(functions: Functions, upstream: FakeUpstream) -> datetime:
    """Right after a job has failed."""
    upstream.errors = [UpstreamRefusedError("no")]
    assert functions.generate(load_event("generate"))["statusCode"] == 502
    return datetime.now(UTC)


def redriven(stack: MotoStack, now: datetime, *, since: datetime, until: datetime) -> int:
    return command.redrive(stack, since=since, until=until, now=now)


def message_count(aws: Aws, state: str = "") -> int:
    name: Any = f"ApproximateNumberOfMessages{state}"
    response = aws.sqs.get_queue_attributes(
        QueueUrl=ENVIRONMENT["QUEUE_URL"], AttributeNames=["All"]
    )
    return int(response["Attributes"][name])


def test_a_failed_job_is_generated_after_all(
    stack: MotoStack, functions: Functions, now: datetime
) -> None:
    assert redriven(stack, now, since=now - DAY, until=now) == 1
    used = functions.jobs(load_event("usage"))["json"]["today"]
    assert (used["reserved_usd"], used["cost_usd"]) == (0.03, 0)
    waiting = functions.jobs(load_event("job"))["json"]
    assert (waiting["status"], waiting["error"], waiting["completed_at"]) == ("queued", None, None)
    event = load_event("worker")
    assert worker_app.handler(event, lambda_context()) == {"batchItemFailures": []}
    assert functions.jobs(load_event("job"))["json"]["status"] == "succeeded"


def test_the_second_time_nothing_is_left_to_put_back(stack: MotoStack, now: datetime) -> None:
    counts = [redriven(stack, now, since=now - DAY, until=now) for _ in range(2)]
    assert counts == [1, 0]


def test_one_message_comes_now_and_one_in_case_we_die(
    aws: Aws, stack: MotoStack, now: datetime
) -> None:
    before = message_count(aws), message_count(aws, "Delayed")
    redriven(stack, now, since=now - DAY, until=now)
    after = message_count(aws), message_count(aws, "Delayed")
    assert after == (before[0] + 1, before[1] + 1)


def test_a_job_that_failed_outside_of_the_time_stays_failed(
    stack: MotoStack, now: datetime
) -> None:
    assert redriven(stack, now, since=now - DAY, until=now - timedelta(hours=1)) == 0
    assert redriven(stack, now, since=now, until=now + DAY) == 0


def test_a_job_whose_images_would_be_gone_stays_failed(stack: MotoStack, now: datetime) -> None:
    assert redriven(stack, now + 31 * DAY, since=now - DAY, until=now) == 0


def test_a_job_that_changes_meanwhile_is_left_alone(
    stack: MotoStack, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise LeaseLostError("changed")

    monkeypatch.setattr(JobStore, "save", lost)
    assert redriven(stack, now, since=now - DAY, until=now) == 0


def test_a_job_of_long_ago_gets_its_hours_again(
    aws: Aws, stack: MotoStack, functions: Functions, now: datetime
) -> None:
    store = JobStore(
        aws.dynamodb, ENVIRONMENT["JOBS_TABLE"], usage_table=ENVIRONMENT["USAGE_TABLE"]
    )
    job = store.get(JOB_ID, now=now)
    old = job.model_copy(update={"created_at": now - 2 * DAY})
    aws.dynamodb.delete_item(TableName=ENVIRONMENT["JOBS_TABLE"], Key={"id": {"S": JOB_ID}})
    assert store.create(old)
    assert redriven(stack, now, since=now - DAY, until=now) == 1
    worker_app.handler(load_event("worker"), lambda_context())
    assert functions.jobs(load_event("job"))["json"]["status"] == "succeeded"
