"""The functions on moto: bucket, table and secret as the template makes them, a fake upstream."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader
from moto import mock_aws
from moto.dynamodb.responses import DynamoHandler

from functions.batches import app as batches_app
from functions.changes import app as changes_app
from functions.generate import app as generate_app
from functions.jobs import app as jobs_app
from functions.mcp import app as mcp_app
from functions.webhooks import app as webhooks_app
from ops.stacks import DeployedStack
from sd3 import bootstrap, observability
from sd3.adapters.aws import Aws
from sd3.api import app as api
from sd3.domain.client import ClientLimits
from sd3.upstreams import UPSTREAMS
from tests.support.factories.client_data import add_data
from tests.support.fakes.jobs_stream import JobsStream
from tests.support.fakes.ports import FakeUpstream

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexTypeDef

EVENTS = Path(__file__).parents[2] / "events"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "POWERTOOLS_SERVICE_NAME": "sd3",
    "POWERTOOLS_METRICS_NAMESPACE": "sd3",
    "IMAGES_BUCKET": "images",
    "JOBS_TABLE": "jobs",
    "USAGE_TABLE": "usage",
    "UPSTREAMS_TABLE": "upstreams",
    "WEBHOOKS_TABLE": "webhooks",
    "BATCHES_TABLE": "batches",
    "BATCH_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/steps",
    "DELIVERIES_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/deliveries",
    "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs",
    "UNPROCESSABLE_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/aside",
    "UPSTREAM": "fake",
    "UPSTREAM_SECRET": "upstream-token",
    "PROVENANCE": "none",  # most images here are no files
    "ALLOWED_ORIGINS": "https://app.example.com,https://admin.example.com",
}


def index(name: str, key: str, order: str) -> "GlobalSecondaryIndexTypeDef":
    """Make an index of the jobs table, as the template has it."""
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": key, "KeyType": "HASH"},
            {"AttributeName": order, "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def make_jobs_tables(aws: Aws, number: str = "") -> None:
    """Return the tables of jobs and of their clients' usage, as the template has them."""
    aws.dynamodb.create_table(
        TableName=f"jobs{number}",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"}
            for name in (
                "id",
                "client_shard",
                "created_at",
                "failed_shard",
                "completed_at",
                "waiting_shard",
                "waiting_since",
            )
        ],
        GlobalSecondaryIndexes=[
            index("by_client", "client_shard", "created_at"),
            index("failed_by_day", "failed_shard", "completed_at"),
            index("waiting", "waiting_shard", "waiting_since"),
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    aws.dynamodb.create_table(
        TableName=f"usage{number}",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "client_id", "KeyType": "HASH"},
            {"AttributeName": "day", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "client_id", "AttributeType": "S"},
            {"AttributeName": "day", "AttributeType": "S"},
        ],
    )


def make_client_table(aws: Aws, name: str) -> None:
    """Make the table of webhooks or that of batches, as the template has them."""
    aws.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "client_id", "KeyType": "HASH"},
            {"AttributeName": "item", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("client_id", "item")
        ],
    )


@pytest.fixture(scope="session")
def loader() -> Loader:
    """botocore's data, read once for all tests: it is most of what a client takes to make."""
    return Loader(include_default_search_paths=True)


def one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that one thread at a time runs it.

    When a transaction fails, moto puts the whole table back, and so undoes what others wrote.
    """
    lock = Lock()

    @wraps(method)
    def call(*arguments: Any) -> Any:
        with lock:
            return method(*arguments)

    return call


@pytest.fixture(scope="session")
def deployer() -> Aws:
    """Clients that make what the template deploys; a test's own may be changed by it."""
    return Aws()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, loader: Loader, deployer: Aws) -> Iterator[Aws]:
    """Provide what the template deploys, on moto, and clients for it."""
    monkeypatch.setattr("botocore.session.create_loader", lambda _path: loader)
    monkeypatch.setattr(DynamoHandler, "call_action", one_at_a_time(DynamoHandler.call_action))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        deployer.s3.create_bucket(
            Bucket="images", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        make_jobs_tables(deployer)
        deployer.dynamodb.create_table(
            TableName="upstreams",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        make_client_table(deployer, "webhooks")
        make_client_table(deployer, "batches")
        deployer.sqs.create_queue(QueueName="jobs")
        deployer.sqs.create_queue(QueueName="deliveries")
        deployer.sqs.create_queue(QueueName="aside")
        deployer.sqs.create_queue(QueueName="steps")
        deployer.secrets.create_secret(Name="upstream-token", SecretString="secret")
        yield Aws()


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> FakeUpstream:
    """Provide the upstream that the functions call."""
    fake = FakeUpstream()
    clock = bootstrap.clock()._replace(sleep=lambda _: None)
    monkeypatch.setattr(bootstrap, "clock", lambda: clock)
    monkeypatch.setitem(UPSTREAMS, "fake", lambda _options: fake)
    return fake


class Functions:
    """The deployed functions, called with an event as API Gateway or the stream would."""

    def __init__(self) -> None:
        self._stream = JobsStream()

    def generate(self, event: dict[str, Any], *, seconds: float = 60) -> dict[str, Any]:
        return self._call(generate_app.handler, event, seconds)

    def jobs(self, event: dict[str, Any]) -> dict[str, Any]:
        return self._call(jobs_app.handler, event, 29)

    def mcp(self, event: dict[str, Any], *, seconds: float = 27) -> dict[str, Any]:
        return self._call(mcp_app.handler, event, seconds)

    def webhooks(self, event: dict[str, Any]) -> dict[str, Any]:
        return self._call(webhooks_app.handler, event, 29)

    def batches(self, event: dict[str, Any]) -> dict[str, Any]:
        return self._call(batches_app.handler, event, 27)

    def changes(self) -> None:
        """Process all that was written to the jobs table since the last call."""
        changes_app.handler({"Records": self._stream.read()}, lambda_context(60))

    def _call(
        self, handler: Callable[..., dict[str, Any]], event: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        response = handler(with_all_headers(event), lambda_context(seconds))
        headers = {name: value for name, [value] in response["multiValueHeaders"].items()}
        is_json = headers.get("Content-Type") == "application/json"
        return response | {
            "headers": headers,
            "json": json.loads(response["body"]) if is_json and response["body"] else None,
        }


class MotoStack(DeployedStack):
    """The stack of the fixtures, by the names of its outputs."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def outputs(self) -> dict[str, str]:
        return {
            "JobsTable": ENVIRONMENT["JOBS_TABLE"],
            "UsageTable": ENVIRONMENT["USAGE_TABLE"],
            "ClientsTable": "clients",
            "ImagesBucket": ENVIRONMENT["IMAGES_BUCKET"],
            "InboxBucket": "inbox",
            "JobsQueue": ENVIRONMENT["QUEUE_URL"],
            "WebhooksTable": ENVIRONMENT["WEBHOOKS_TABLE"],
            "BatchesTable": ENVIRONMENT["BATCHES_TABLE"],
            "BatchJobsQueue": ENVIRONMENT["QUEUE_URL"],
            "DeliveriesQueue": ENVIRONMENT["DELIVERIES_QUEUE_URL"],
        }

    def parameters(self) -> dict[str, str]:
        return {"RecoveryDays": "7"}

    def client(self, service: Any) -> Any:
        return getattr(self._aws, service)


def with_all_headers(event: dict[str, Any]) -> dict[str, Any]:
    """Add each header of `headers` to the event's `multiValueHeaders`, as the gateway does."""
    lists = event["multiValueHeaders"] or {}
    complete = {
        name: lists[name] if value in lists.get(name, []) else [value]
        for name, value in (event["headers"] or {}).items()
    }
    return event | {"multiValueHeaders": complete or None}


def lambda_context(seconds: float) -> SimpleNamespace:
    """Make the context of a function that has so many seconds left."""
    return SimpleNamespace(
        function_name="sd3",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:sd3",
        aws_request_id="8f507cfc-1e9b-4f7e-8a3c-0b8e6f1d2c3b",
        get_remaining_time_in_millis=lambda: int(seconds * 1000),
    )


def forget_process() -> None:
    """Restart the functions: their state of a process is gone."""
    for module in (bootstrap, observability, api):
        for cached in vars(module).values():
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()


@pytest.fixture
def functions(aws: Aws, upstream: FakeUpstream) -> Iterator[Functions]:
    """Fresh functions: what they cache for a process is forgotten around each test."""
    forget_process()
    logging.Logger.manager.loggerDict.pop("sd3", None)  # it holds on to the last test's stdout
    yield Functions()
    forget_process()


def load_event(name: str, **body: Any) -> dict[str, Any]:
    """Make a sample event of events/, its JSON body updated by `body`."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    if body:
        event["body"] = json.dumps(json.loads(event["body"]) | body)
    return event


SHARED = ClientLimits(total_daily_budget_micros=100_000_000)


def stack_with_data(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, *, command: ModuleType, clients: Sequence[str]
) -> MotoStack:
    """Provide the stack as an operator's command finds it, with data of some clients."""
    aws.s3.create_bucket(
        Bucket="inbox", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    aws.dynamodb.create_table(
        TableName="clients",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "token_sha256", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "token_sha256", "AttributeType": "S"}],
    )
    stack = MotoStack(aws)
    for client_id in clients:
        add_data(stack, client_id, limits=SHARED)
        stack.issue_token(client_id)
    monkeypatch.setattr(command, "find_stack", lambda _: stack)
    return stack
