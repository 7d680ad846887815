"""What botocore does around a service: it repeats what was throttled or lost, and tokens help."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from benchmarks.aws_client import ATTEMPTS, AwsClient, Network
from benchmarks.deployed import Table
from benchmarks.timed_dynamodb import TimedDynamoDB
from benchmarks.virtual_time import VirtualTime
from benchmarks.wire import to_wire

LOST_REPLY = Network(lost_replies=1.0)
NEW = {"ConditionExpression": "attribute_not_exists(id)"}


class Service:
    """Raises the errors that it is given, one for each call, and then answers."""

    def __init__(self, *codes: str) -> None:
        self.codes, self.calls = list(codes), 0

    def act(self) -> str:
        self.calls += 1
        if self.codes:
            raise ClientError({"Error": {"Code": self.codes.pop(0)}}, "act")
        return "done"


class Flaky(Random):
    """Has the first replies lost: the luck of each attempt is the next number."""

    def __init__(self, *luck: float) -> None:
        super().__init__(1)
        self.luck = list(luck)

    def random(self) -> float:
        return self.luck.pop(0) if self.luck else 0.9


def run(client: AwsClient, time: VirtualTime, operation: str, **request: Any) -> Any:
    """Make one call, and return its reply or its error."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(getattr(client, operation)(**request))
        except (ClientError, ConnectionClosedError) as error:
            found.append(error)

    time.start(call)
    time.run()
    return found[0]


@pytest.mark.parametrize("failures", [0, 1, ATTEMPTS - 1])
def test_a_throttled_call_is_repeated_after_a_wait(failures: int) -> None:
    time, service = VirtualTime(), Service(*["ThrottlingException"] * failures)
    assert run(AwsClient(service, time, Random(1)), time, "act") == "done"  # noqa: S311 - nothing secret
    assert service.calls == failures + 1
    assert (time.now > 0) is (failures > 0)


@pytest.mark.parametrize(
    ("codes", "calls"),
    [(["ThrottlingException"] * ATTEMPTS, ATTEMPTS), (["TransactionConflictException"], 1)],
)
def test_a_call_fails_after_the_last_attempt_and_by_what_is_not_repeated(
    codes: list[str], calls: int
) -> None:
    time, service = VirtualTime(), Service(*codes)
    error = run(AwsClient(service, time, Random(1)), time, "act")  # noqa: S311 - nothing secret
    assert isinstance(error, ClientError)
    assert service.calls == calls


@pytest.mark.parametrize("lost", ["lost_requests", "lost_replies"])
def test_a_lost_call_is_repeated_and_a_lost_reply_was_an_answer(lost: str) -> None:
    time, service, counts = VirtualTime(), Service(), Counter[str]()
    network = Network(**{lost: 1.0})
    client = AwsClient(service, time, Random(1), network=network, counts=counts)  # noqa: S311 - nothing secret
    assert isinstance(run(client, time, "act"), ConnectionClosedError)
    assert service.calls == (0 if lost == "lost_requests" else ATTEMPTS)
    assert counts[lost.replace("_", " ")] == ATTEMPTS


def test_in_an_outage_all_attempts_are_lost() -> None:
    time, service = VirtualTime(), Service()
    network = Network(lost_requests=0.001, lost_replies=0.001, outages=1.0)
    client = AwsClient(service, time, Random(1), network=network)  # noqa: S311 - nothing secret
    assert isinstance(run(client, time, "act"), ConnectionClosedError)
    assert 0 < service.calls < ATTEMPTS


def flaky_client(time: VirtualTime) -> tuple[TimedDynamoDB, AwsClient]:
    """Make a client whose first reply is lost."""
    database = TimedDynamoDB(time, {"t": Table(("id",))})
    random = Flaky(0.9, 0.5, 0.0)  # no outage; the reply is lost; no wait; then all is well
    return database, AwsClient(database, time, random, network=Network(lost_replies=0.6))


def test_a_transaction_whose_reply_is_lost_is_applied_once() -> None:
    time = VirtualTime()
    database, client = flaky_client(time)
    add = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": to_wire({":n": 1})}
    part = {"Update": {"TableName": "t", "Key": to_wire({"id": "a"}), **add}}
    assert run(client, time, "transact_write_items", TransactItems=[part]) == {}
    assert database.calls["TransactWriteItems"] == 2
    assert database.items["t", "a"].values["n"] == 1


def test_a_conditional_write_whose_reply_is_lost_fails_its_condition() -> None:
    time = VirtualTime()
    database, client = flaky_client(time)
    error = run(client, time, "put_item", TableName="t", Item=to_wire({"id": "a"}), **NEW)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert ("t", "a") in database.items


def test_something_is_done_before_and_after_each_call() -> None:
    time, service, seen = VirtualTime(), Service(), list[int]()
    client = AwsClient(service, time, Random(1), around=lambda: seen.append(service.calls))  # noqa: S311 - nothing secret
    run(client, time, "act")
    assert seen == [0, 1]
