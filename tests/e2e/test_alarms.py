"""Every failure that can be forced here makes its alarm ring; before, none does."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import pytest
import requests

from local.stack import Stack
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.domain.job import JobStatus
from tests.e2e.test_jobs import upstream_of_generate
from tests.support.factories.stored_jobs import job
from tests.support.functions import configure
from tests.support.operator import Api, Operator
from tests.support.polling import wait_for
from tests.support.run_book import aws_call, commands
from tests.support.servers.scripted_server import MisbehavingServer, Received, Reply, http_reply

FORCED: Final = {
    "BreakerOpenAlarm",
    "DeadLettersAlarm",
    "FunctionErrorsAlarm",
    "GenerateErrorsAlarm",
    "JobsFailedAlarm",
    "QueueLateAlarm",
    "SpendAlarm",
    "ThrottlesAlarm",
    "UnknownOutcomesAlarm",
    "UnprocessableAlarm",
    "UpstreamRefusedAlarm",
}


class FailingSd3(MisbehavingServer):
    """Refuses one call, breaks in five, and from then on is overloaded for ten minutes."""

    def __init__(self) -> None:
        super().__init__()
        self._statuses = iter((401, *[500] * 5))

    def next_reply(self, received: Received) -> Reply:
        return http_reply(next(self._statuses, 503), b"{}", retry_after="600")


class Saboteur:
    """Causes each failure once, and removes what would trouble later tests."""

    def __init__(self, stack: Stack, api: Api, new_token: Callable[[], str]) -> None:
        self._stack, self._api, self._new_token = stack, api, new_token
        self._functions = stack.deployed.client("lambda")
        self._sqs = stack.deployed.client("sqs")

    def force_all(self) -> None:
        self._let_a_job_wait()
        self._send("DeadLettersQueue", json.dumps({"job_id": "nobody"}))
        self._send("JobsQueue", "no job")
        self._api.generate(self._new_token(), num_images=4)
        self._throttle()
        self._functions.invoke(FunctionName=self._name("InboxFunction"), Payload=b"{}")
        self._crash_generate()
        self._fail_upstream()

    def _let_a_job_wait(self) -> None:
        created_at = datetime.now(UTC) - timedelta(hours=2)
        late = job(
            "late", status=JobStatus.QUEUED, attempt=0, lease_until=None, created_at=created_at,
            expires_at=created_at + timedelta(days=1),
        )  # fmt: skip
        outputs = self._stack.deployed.outputs()
        table = self._stack.deployed.client("dynamodb")
        JobStore(table, outputs["JobsTable"], usage_table=outputs["UsageTable"]).create(late)
        self._send("JobsQueue", json.dumps({"job_id": late.id}))

    def _throttle(self) -> None:
        name = self._name("InboxFunction")
        self._functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        for _ in range(5):
            with pytest.raises(self._functions.exceptions.TooManyRequestsException):
                self._functions.invoke(FunctionName=name, Payload=b"{}")
        self._functions.delete_function_concurrency(FunctionName=name)

    def _crash_generate(self) -> None:
        name = self._name("GenerateFunction")
        handler = self._functions.get_function_configuration(FunctionName=name)["Handler"]
        configure(self._functions, name, Handler="app.absent")
        try:
            assert self._api.generate(self._new_token()).status_code >= 500
        finally:
            configure(self._functions, name, Handler=handler)

    def _fail_upstream(self) -> None:
        with FailingSd3() as failing, upstream_of_generate(self._stack, failing.url):
            codes = [self._api.generate(self._new_token()).status_code for _ in range(8)]
        assert codes == [502] * 6 + [503] * 2
        self._stack.deployed.client("dynamodb").delete_item(
            TableName=self._name("UpstreamsTable"), Key={"id": {"S": "octoai"}}
        )

    def _name(self, logical_id: str) -> str:
        return self._stack.deployed.resource(logical_id)

    def _send(self, queue: str, body: str) -> None:
        self._sqs.send_message(QueueUrl=self._name(queue), MessageBody=body)


def ringing(stack: Stack) -> set[str]:
    """Return the alarms that ring, by their names in monitoring.yaml."""
    found = stack.deployed.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
    return {alarm["AlarmName"].rsplit("-", 2)[-2] for alarm in found}


@pytest.fixture(scope="module")
def before(stack: Stack) -> set[str]:
    return ringing(stack)


@pytest.fixture(scope="module")
def set_aside(
    stack: Stack, new_token: Callable[[], str], before: set[str]
) -> Iterator[list[dict[str, Any]]]:
    """Provide the messages in UnprocessableQueue after all failures."""
    with requests.Session() as http:
        http.trust_env = False
        Saboteur(stack, Api(stack, http), new_token).force_all()
    sqs, queue = stack.deployed.client("sqs"), stack.deployed.resource("UnprocessableQueue")

    def received() -> list[dict[str, Any]]:
        named = ["AWSTraceHeader"]
        read = sqs.receive_message(
            QueueUrl=queue, MessageSystemAttributeNames=named, VisibilityTimeout=0
        )
        return list(read.get("Messages", []))

    yield wait_for(received, what="message that was set aside")
    sqs.purge_queue(QueueUrl=queue)


def test_no_alarm_rings_on_a_new_stack(before: set[str]) -> None:
    assert before == set()


@pytest.mark.parametrize("name", sorted(FORCED))
def test_a_failure_makes_its_alarm_ring(
    stack: Stack, set_aside: list[dict[str, Any]], name: str
) -> None:
    assert wait_for(lambda: name in ringing(stack), what=name)


def test_no_other_alarm_rings(stack: Stack, set_aside: list[dict[str, Any]]) -> None:
    assert ringing(stack) <= FORCED


def test_the_run_books_commands_look_at_the_stack(
    stack: Stack, operator: Operator, set_aside: list[dict[str, Any]]
) -> None:
    """Run what the pages say under Look, each command once. Those under Do change things."""
    looks = {tuple(one.words) for one in commands() if one.section == "Look"}
    client, resource = cache(stack.deployed.client), cache(stack.deployed.resource)
    for call in (aws_call([*words], resource) for words in looks if "aws" in words):
        assert getattr(client(call.service), call.operation)(**call.parameters), call
    assert {words[1] for words in looks if "make" in words} == {"metrics", "clients", "invoke"}
    assert operator.make("clients")
    assert operator.make("invoke", FUNCTION="jobs", EVENT="events/health.json")
    shown = operator.make("metrics", SINCE="30m")
    titles = {line for line in shown if not line.startswith(" ")}
    assert titles >= {"Requests", "Latency of the API, ms", "Time of an attempt, ms", "Messages"}
    assert any("SpendAlarm" in line for line in shown)


def test_a_message_has_the_trace_of_the_function_that_sent_it(
    stack: Stack, set_aside: list[dict[str, Any]]
) -> None:
    trace = set_aside[0]["Attributes"]["AWSTraceHeader"].split(";")[0].removeprefix("Root=")
    logs, group = stack.deployed.client("logs"), stack.deployed.resource("FunctionsLogGroup")
    [event] = logs.filter_log_events(logGroupName=group, filterPattern='"message set aside"')[
        "events"
    ]
    assert json.loads(event["message"])["xray_trace_id"] == trace
