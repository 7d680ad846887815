"""The loopback servers speak as much HTTP, S3, DynamoDB and SD3 as the measured sides need."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from benchmarks import aws_server, servers
from benchmarks.loopback import Call, Reply, serving

JOB = {"id": {"S": "job-1"}, "status": {"S": "running"}}


@pytest.fixture
def aws() -> Iterator[str]:
    with serving(aws_server.aws()) as url:
        yield url


def client(service: str, url: str) -> Any:
    session = botocore.session.get_session()
    return session.create_client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=16),
    )


def connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)


def test_put_object_returns_an_etag(aws: str) -> None:
    with closing(client("s3", aws)) as s3:
        handle = s3.put_object(Bucket="images", Key="a/0.png", Body=servers.image())
    assert handle["ETag"] == '"0"'
    assert handle["ResponseMetadata"]["RetryAttempts"] == 0


def test_put_waits_for_100_continue_and_gets_it(aws: str) -> None:
    host, port = aws.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"PUT /images/a HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(1024).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_is_reused_for_one_call_after_another(aws: str) -> None:
    with closing(connection(aws)) as stored:
        for size in (0, 3, 1 << 20):
            stored.request("PUT", "/images/a", bytes(size))
            with stored.getresponse() as response:
                assert (response.status, response.read()) == (200, b"")


def test_pipelined_requests_get_responses_in_order() -> None:
    def handle(call: Call) -> Reply:
        return Reply(body=call.target.encode() + call.body)

    with serving(handle) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            post = b"POST %s HTTP/1.1\r\nContent-Length: 1\r\n\r\n%s"
            sock.sendall(post % (b"/a", b"1") + post % (b"/b", b"2"))
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as stream:
                received = stream.read()
    assert received.endswith(b"/b2")
    assert b"/a1HTTP/1.1 200 OK" in received


def test_a_body_is_passed_on_for_a_post_and_discarded_for_a_put() -> None:
    seen: list[bytes] = []

    def handle(call: Call) -> Reply:
        seen.append(call.body)
        return Reply()

    with serving(handle) as url, closing(connection(url)) as stored:
        for method in ("POST", "PUT"):
            stored.request(method, "/", b"body")
            stored.getresponse().read()
    assert seen == [b"body", b""]


def test_a_client_that_leaves_in_the_middle_does_not_end_the_server(aws: str) -> None:
    host, port = aws.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"PUT /images/a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
    with closing(connection(aws)) as stored:
        stored.request("PUT", "/images/a", b"abc")
        assert stored.getresponse().status == 200


def test_latency_is_waited_for_once_a_call_and_blocks_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    handle = aws_server.aws(s3_ms=30)
    for _ in range(2):
        handle(Call("PUT", "/images/a", {}, b""))
    assert waits == [0.03, 0.03]


def test_sixteen_calls_are_under_way_at_once() -> None:
    together = Barrier(16, timeout=5)

    def handle(_call: Call) -> Reply:
        together.wait()
        return Reply()

    with serving(handle) as url, closing(client("s3", url)) as s3:

        def put(index: int) -> int:
            answered = s3.put_object(Bucket="images", Key=str(index), Body=b"x")
            return int(answered["ResponseMetadata"]["HTTPStatusCode"])

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(put, range(16))) == [200] * 16


def test_an_item_is_read_back_as_it_was_put(aws: str) -> None:
    with closing(client("dynamodb", aws)) as dynamodb:
        key = {"id": JOB["id"]}
        assert "Item" not in dynamodb.get_item(TableName="jobs", Key=key)
        dynamodb.put_item(TableName="jobs", Item=JOB)
        assert dynamodb.get_item(TableName="jobs", Key=key)["Item"] == JOB
        assert "Item" not in dynamodb.get_item(TableName="usage", Key=key)


def test_an_update_returns_the_item(aws: str) -> None:
    with closing(client("dynamodb", aws)) as dynamodb:
        dynamodb.put_item(TableName="jobs", Item=JOB)
        handle = dynamodb.update_item(
            TableName="jobs",
            Key={"id": JOB["id"]},
            UpdateExpression="SET attempt = :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )
    assert handle["Attributes"] == JOB


def test_a_secret_is_returned(aws: str) -> None:
    with closing(client("secretsmanager", aws)) as secrets:
        assert secrets.get_secret_value(SecretId="upstream")["SecretString"] == "token"


@pytest.mark.parametrize("count", [1, 4])
def test_sd3_returns_as_many_images_as_requested(count: int) -> None:
    with serving(servers.sd3()) as url, closing(connection(url)) as stored:
        stored.request("POST", "/generate/sd3", json.dumps({"num_images": count}))
        images = json.loads(stored.getresponse().read())["images"]
    assert [image["seed"] for image in images] == list(range(1, count + 1))
    assert {base64.b64decode(image["image_b64"]) for image in images} == {servers.image()}


def test_the_image_is_a_png_of_one_and_a_half_megabytes() -> None:
    assert servers.image().startswith(b"\x89PNG\r\n\x1a\n")
    assert 1.4e6 < len(servers.image()) < 1.7e6
