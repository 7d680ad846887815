"""A webhook from end to end on moto: it is set, a job ends, a message is sent, the log has it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from standardwebhooks import Webhook as Verifier

from functions.deliveries import app as deliveries
from functions.notifications import app as notifications
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.job_items import item_from, job_from
from sd3.adapters.key_queue import SqsKeyQueue, parse_key
from sd3.domain.delivery import DeliveryKey
from sd3.domain.job import Job
from sd3.errors import StorageError
from sd3.services.deliveries import WebhookDeliveries
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.servers.scripted_server import MisbehavingServer, http_reply

DONE: Final[dict[str, Any]] = {"batchItemFailures": []}
QUEUE: Final = ENVIRONMENT["DELIVERIES_QUEUE_URL"]


@pytest.fixture(autouse=True)
def environment(aws: Aws, functions: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide the master secret, and let receivers be on this machine."""
    aws.secrets.create_secret(Name="master", SecretString="m" * 64)
    monkeypatch.setenv("MASTER_SECRET", "master")
    monkeypatch.setenv("CLIENT_URLS", "loopback")


@pytest.fixture
def receiver() -> Iterator[MisbehavingServer]:
    """Provide a receiver that takes the first message no better than with a 503."""
    with MisbehavingServer(http_reply(503, retry_after="90"), http_reply(204)) as server:
        yield server


def call(functions: Functions, method: str, path: str, **values: Any) -> dict[str, Any]:
    """Call a route as the client of events/notifications.json."""
    resource, parameters = path, None
    if path.startswith("/webhook/deliveries/"):
        resource, parameters = "/webhook/deliveries/{id}", {"id": path.rpartition("/")[2]}
    event = load_event("webhook")
    event |= {"httpMethod": method, "resource": resource, "path": path}
    event |= {"pathParameters": parameters, "body": json.dumps(values) if values else None}
    event["requestContext"]["authorizer"] |= {"client_id": "acme", "principalId": "acme"}
    return functions.webhooks(event)


def the_job() -> Job:
    """Return the job of events/notifications.json, which has not expired whenever this runs."""
    job = job_from(load_event("notifications")["Records"][0]["dynamodb"]["NewImage"])
    return job.model_copy(update={"expires_at": datetime.now(UTC) + timedelta(days=1)})


def the_message(aws: Aws, *, receives: int = 1) -> dict[str, Any]:
    """Receive the one message of the queue as Lambda does."""
    [message] = aws.sqs.receive_message(QueueUrl=QUEUE)["Messages"]
    event = load_event("deliveries")
    [record] = event["Records"]
    record |= {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
    record["attributes"]["ApproximateReceiveCount"] = str(receives)
    return event


def test_the_end_of_a_job_reaches_the_receiver_and_the_log(
    aws: Aws, functions: Functions, receiver: MisbehavingServer
) -> None:
    aws.dynamodb.put_item(TableName="jobs", Item=item_from(the_job()))
    call(functions, "PUT", "/webhook", url=f"{receiver.url}/hooks?key=kiWW3rT0")
    notifications.handler(load_event("notifications"), lambda_context())
    message = the_message(aws)
    assert message["Records"][0]["body"] == load_event("deliveries")["Records"][0]["body"]

    refused = deliveries.handler(message, lambda_context())
    [failure] = refused["batchItemFailures"]
    assert failure["itemIdentifier"] == message["Records"][0]["messageId"]
    [one] = call(functions, "GET", "/webhook/deliveries")["json"]["deliveries"]
    assert (one["status"], one["host"], one["attempts"][0]["status"]) == (
        "pending",
        "127.0.0.1",
        503,
    )
    assert one["next_at"] > one["attempts"][0]["at"]
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=QUEUE)  # it is hidden till then

    key = {"client_id": {"S": "acme"}, "item": {"S": f"delivery#{one['id']}"}}
    stored = aws.dynamodb.get_item(TableName="webhooks", Key=key)["Item"]
    due = json.loads(stored["document"]["S"]) | {"next_at": None}
    aws.dynamodb.put_item(TableName="webhooks", Item=stored | {"document": {"S": json.dumps(due)}})
    assert deliveries.handler(message, lambda_context()) == DONE
    delivered = call(functions, "GET", f"/webhook/deliveries/{one['id']}")["json"]
    assert (delivered["status"], len(delivered["attempts"])) == ("delivered", 2)

    secret = call(functions, "GET", "/webhook/secret")["json"]["secret"]
    bodies = [Verifier(secret).verify(each.body, each.headers) for each in receiver.requests]
    assert [body["type"] for body in bodies] == ["job.succeeded"] * 2
    assert {each.headers["webhook-id"] for each in receiver.requests} == {one["id"]}
    assert bodies[0]["data"]["images"][0]["url"].startswith("https://images.s3.")
    assert "prompt" not in bodies[0]["data"]


def test_a_client_without_a_webhook_has_no_message(aws: Aws) -> None:
    notifications.handler(load_event("notifications"), lambda_context())
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=QUEUE)


@pytest.mark.parametrize("values", [{"job_id": "j"}, {"type": "batch.ended"}])
def test_a_message_that_names_no_delivery_is_set_aside(aws: Aws, values: dict[str, str]) -> None:
    event = load_event("deliveries")
    [record] = event["Records"]
    if "type" in values:
        values = json.loads(record["body"]) | values
    record["body"] = json.dumps(values)
    assert deliveries.handler(event, lambda_context()) == DONE
    [aside] = aws.sqs.receive_message(QueueUrl=ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"])["Messages"]
    assert aside["Body"] == record["body"]


def test_a_message_of_a_later_version_that_says_more_is_read(aws: Aws) -> None:
    body = json.loads(load_event("deliveries")["Records"][0]["body"])
    known = parse_key(DeliveryKey, json.dumps(body))
    assert known is not None
    assert parse_key(DeliveryKey, json.dumps(body | {"priority": 1})) == known


@pytest.mark.parametrize(("receives", "seconds"), [(1, 60), (2, 120), (1000, 900)])
def test_errors_of_our_own_use_up_no_message_and_make_it_late(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    receives: int,
    seconds: int,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StorageError("The master secret could not be read.")

    monkeypatch.setattr(WebhookDeliveries, "attempt", fail)
    hidden: list[int] = []
    monkeypatch.setattr(SqsKeyQueue, "set_visibility", lambda *_, seconds: hidden.append(seconds))
    event = load_event("deliveries")
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
    assert len(deliveries.handler(event, lambda_context())["batchItemFailures"]) == 1
    assert hidden == [seconds]
    assert waits(capsys) >= 1


@pytest.mark.parametrize(("receives", "measured"), [(1, 1), (2, 0)])
def test_the_wait_in_the_queue_is_measured_once_and_without_the_receivers_part(
    aws: Aws, capsys: pytest.CaptureFixture[str], receives: int, measured: int
) -> None:
    event = load_event("deliveries")
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
    assert deliveries.handler(event, lambda_context()) == DONE
    assert waits(capsys) == measured


def waits(capsys: pytest.CaptureFixture[str]) -> int:
    """Count the measures of a message's wait since the last call."""
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return sum("WebhookWaitMs" in line for line in lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhook/secret", 403),
        ("PUT", "/webhook", 403),
        ("DELETE", "/webhook", 403),
        ("GET", "/webhook", 404),
        ("GET", "/webhook/deliveries", 200),
    ],
)
def test_a_token_for_reading_reads_the_log_and_not_the_secret(
    functions: Functions, method: str, path: str, status: int
) -> None:
    event = load_event("webhook") | {"httpMethod": method, "resource": path, "path": path}
    event["requestContext"]["authorizer"]["scopes"] = "read"
    assert functions.webhooks(event)["statusCode"] == status
