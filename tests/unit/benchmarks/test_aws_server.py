"""The loopback AWS counts what the functions call, and what that takes of the tables."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.aws_server import COUNTS, INBOX_FILE, aws
from benchmarks.loopback import serving
from sd3.adapters.dynamodb.tokens import token_from

LISTED = {"client_shard": {"S": "ann#3"}, "created_at": {"S": "2026-11-23T00:00:00+00:00"}}


@pytest.fixture
def url() -> Iterator[str]:
    with serving(aws()) as url:
        yield url


def client(service: str, url: str) -> Any:
    return botocore.session.get_session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


def counted(url: str) -> Any:
    with urlopen(url + COUNTS) as reply:  # noqa: S310 - this test's own server
        return json.load(reply)


def test_calls_are_counted_by_service_and_operation_until_they_are_read(url: str) -> None:
    with closing(client("sqs", url)) as sqs, closing(client("s3", url)) as s3:
        for _ in range(2):
            sqs.send_message(QueueUrl=f"{url}/1/jobs", MessageBody="{}", DelaySeconds=5)
        s3.put_object(Bucket="images", Key="a", Body=b"x")
        s3.get_object(Bucket="images", Key="a")
    assert counted(url)["calls"] == {
        "sqs SendMessage": 2,
        "s3 PutObject": 1,
        "s3 GetObject": 1,
    }
    assert counted(url) == {"calls": {}, "units": {}}


@pytest.mark.parametrize(("size", "units"), [(900, 1), (1100, 2), (5000, 5)])
def test_items_take_units_by_their_size(url: str, size: int, units: int) -> None:
    item = {"id": {"S": "job-1"}, **LISTED, "document": {"S": "x" * size}}
    with closing(client("dynamodb", url)) as dynamodb:
        dynamodb.put_item(TableName="jobs", Item=item)
        dynamodb.get_item(TableName="jobs", Key={"id": item["id"]}, ConsistentRead=True)
        dynamodb.get_item(TableName="jobs", Key={"id": {"S": "none"}})
    assert counted(url)["units"] == {
        "write": units,
        "index": 1,
        "read": 1 + (size > 4096) + 0.5,
    }


def test_a_transaction_takes_twice_the_units_and_stores_its_items(url: str) -> None:
    item = {"id": {"S": "job-1"}, **LISTED, "document": {"S": "x" * 1100}}
    update = {"Key": {"client_id": {"S": "ann"}}, "UpdateExpression": "ADD spent :one"}
    one = {"ExpressionAttributeValues": {":one": {"N": "1"}}}
    with closing(client("dynamodb", url)) as dynamodb:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "jobs", "Item": item}},
                {"Update": {"TableName": "usage", **update, **one}},
            ]
        )
        dynamodb.update_item(TableName="usage", **update, **one)
        assert dynamodb.get_item(TableName="jobs", Key={"id": item["id"]})["Item"] == item
    assert counted(url)["units"] == {"write": 2 * (2 + 1) + 1, "index": 1, "read": 0.5}


def test_a_job_that_is_written_again_takes_no_units_of_the_index(url: str) -> None:
    job = {"id": {"S": "job-1"}, **LISTED, "document": {"S": "x" * 1100}}
    with closing(client("dynamodb", url)) as dynamodb:
        dynamodb.put_item(TableName="jobs", Item=job)
        dynamodb.put_item(TableName="jobs", Item={**job, "document": {"S": "y"}})
    assert counted(url)["units"] == {"write": 2 + 2, "index": 1}


def test_an_object_is_read_but_not_there_before(url: str) -> None:
    with closing(client("s3", url)) as s3:
        assert s3.get_object(Bucket="inbox", Key="a")["Body"].read() == INBOX_FILE
        with pytest.raises(ClientError, match="404"):
            s3.head_object(Bucket="images", Key="a")


def test_there_is_such_a_client_and_its_events_are_taken(url: str) -> None:
    with closing(client("dynamodb", url)) as dynamodb, closing(client("events", url)) as events:
        [token] = dynamodb.query(TableName="clients", KeyConditionExpression="id = :a")["Items"]
        assert token_from(token).is_active(now=datetime.now(UTC))
        response = events.put_events(Entries=[{"Source": "sd3", "DetailType": "a", "Detail": "{}"}])
    assert (response["FailedEntryCount"], len(response["Entries"])) == (0, 1)
