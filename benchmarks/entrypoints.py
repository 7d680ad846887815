"""A job from an entrypoint to its end: the functions that run, and the AWS calls of each."""

import json
import os
import sys
import time
from datetime import datetime
from importlib import import_module
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

import botocore.session

from benchmarks.aws_server import COUNTS, INBOX_FILE, RECEIVER
from benchmarks.worker import Context, event
from sd3 import bootstrap
from sd3.adapters.dynamodb.job_items import item_from, job_from
from sd3.domain.delivery import delivery_of
from sd3.domain.job import Job, JobStatus
from sd3.domain.webhook import JOB_EVENTS

ENTRYPOINTS: Final = ("synchronous", "queued", "inbox")

DELIVERY: Final = "delivery"
"""Not a way in, but out: the end of a job whose client has a webhook."""

_TOKEN: Final = f"Bearer sd3_{'0' * 43}"
_METHOD: Final = "arn:aws:execute-api:us-east-1:123456789012:api/v1/POST/generate/sd3"


class Step(NamedTuple):
    """One function's run: its seconds, its calls and DynamoDB units by name, and what it logged."""

    function: str
    seconds: float
    calls: dict[str, int]
    units: dict[str, float]
    log_bytes: int


def trace(entrypoint: str) -> list[Step]:
    """Run a new job from an entrypoint to its end; its message is delivered even if it has ended.

    Raises RuntimeError when a function fails.
    """
    if entrypoint == "inbox":
        uploaded = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": _upload(),
        }
        job_id = import_module("functions.inbox.app").upload_from(uploaded).job_id
        first = _step("inbox", {"Records": [uploaded]})
    else:
        request = event(1)
        job_id = request["requestContext"]["extendedRequestId"]
        if entrypoint == "queued":
            request["headers"]["Prefer"] = "respond-async"
            request["multiValueHeaders"]["Prefer"] = ["respond-async"]
        first = _step("generate", request)
    worked = _step("worker", message(job_id))
    ended = _item(job_id)
    made = dict(item_from(_as_made(job_from(ended), is_queued=entrypoint != "synchronous")))
    # A batch of the stream has many writes. Here each has one, which costs the most.
    changes = [_step("changes", _change(made)), _step("changes", _change(ended, made))]
    steps = [first, worked, *changes, _step("notifications", _change(ended, made))]
    if entrypoint == "queued":
        steps.append(_step("jobs", _reading(job_id)))
    if entrypoint != "inbox":
        steps.append(_step("authorizer", {"authorizationToken": _TOKEN, "methodArn": _METHOD}))
    return steps


def trace_delivery() -> list[Step]:
    """Run the end of a new job that a webhook is told of. Raises RuntimeError as `trace` does."""
    request = event(1)
    _step("generate", request)
    ended = _item(request["requestContext"]["extendedRequestId"])
    made = dict(item_from(_as_made(job_from(ended), is_queued=False)))
    _set_webhook(job_from(ended).client_id)
    key = delivery_of(job_from(ended), is_own=False)
    body = json.dumps(key._asdict(), default=datetime.isoformat)
    return [
        _step("notifications", _change(ended, made)),
        _step("deliveries", _received(body)),
    ]


def _set_webhook(client_id: str) -> None:
    """Let a client have a webhook on this machine, and the functions what they need for it."""
    aws = os.environ["AWS_ENDPOINT_URL_S3"]
    os.environ |= {"MASTER_SECRET": "master", "CLIENT_URLS": "loopback"}
    bootstrap._secrets.cache_clear()  # noqa: SLF001 - it was built without a master secret
    webhooks = bootstrap._webhooks()  # noqa: SLF001
    settings = webhooks.settings(client_id)
    webhooks.save_settings(settings.set(aws + RECEIVER, JOB_EVENTS))


def _step(function: str, sent: dict[str, Any]) -> Step:
    handler = import_module(f"functions.{function}.app").handler
    _counted()
    logged = os.fstat(1).st_size
    start = perf_counter()
    result = handler(sent, Context())
    seconds = perf_counter() - start
    sys.stdout.flush()
    logged = os.fstat(1).st_size - logged
    failures = (result or {}).get("batchItemFailures")
    if failures or (result or {}).get("statusCode", 200) >= 300:
        msg = f"{function} failed: {result}"
        raise RuntimeError(msg)
    counted = _counted()
    return Step(function, seconds, counted["calls"], counted["units"], logged)


def _counted() -> dict[str, Any]:
    """Read the counts of calls since the last reading."""
    with urlopen(os.environ["AWS_ENDPOINT_URL_S3"] + COUNTS) as reply:  # noqa: S310 - loopback
        counted: dict[str, Any] = json.load(reply)
    return counted


def _upload() -> dict[str, Any]:
    file = {"key": "bench/a.json", "size": len(INBOX_FILE), "eTag": "0"}
    # The sequencer of S3 grows, as two equal uploads would be the same job.
    return {"bucket": {"name": "inbox"}, "object": file | {"sequencer": f"{time.time_ns():x}"}}


def message(job_id: str) -> dict[str, Any]:
    """Make the queue's event that delivers a job to the worker."""
    return _received(json.dumps({"job_id": job_id}))


def _received(body: str) -> dict[str, Any]:
    sent = {"SentTimestamp": str(time.time_ns() // 10**6), "ApproximateReceiveCount": "1"}
    record = {"messageId": "1", "receiptHandle": "1", "body": body, "attributes": sent,
              "eventSourceARN": ""}  # fmt: skip
    return {"Records": [record]}


def _reading(job_id: str) -> dict[str, Any]:
    """Make the gateway's event of a client that reads a job."""
    request, path = event(1), f"/jobs/{job_id}"
    route = {"httpMethod": "GET", "path": path}
    context = request["requestContext"] | route | {"resourcePath": "/jobs/{id}"}
    return (
        request
        | route
        | {
            "resource": "/jobs/{id}",
            "pathParameters": {"id": job_id},
            "requestContext": context,
            "body": None,
        }
    )


def _item(job_id: str) -> dict[str, Any]:
    dynamodb: Any = botocore.session.get_session().create_client("dynamodb")
    reply = dynamodb.get_item(TableName=os.environ["JOBS_TABLE"], Key={"id": {"S": job_id}})
    item: dict[str, Any] = reply["Item"]
    return item


def _as_made(job: Job, *, is_queued: bool) -> Job:
    """Return an ended job as it was when it was made."""
    status = JobStatus.QUEUED if is_queued else JobStatus.RUNNING
    return job.model_copy(update={"status": status, "images": (), "charges": (), "version": 0})


def _change(new: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the stream's event for one write of a job."""
    images = {"NewImage": new} | ({"OldImage": old} if old else {})
    return {"Records": [{"dynamodb": {"SequenceNumber": "1"} | images}]}


def main(rounds: str, *entrypoints: str) -> None:
    """Print the steps of one job for each entrypoint and round, as lines of JSON."""
    output = os.fdopen(os.dup(1), "w")
    with TemporaryFile() as logs:
        os.dup2(logs.fileno(), 1)
        for entrypoint in entrypoints:
            for _ in range(int(rounds)):
                steps = trace_delivery() if entrypoint == DELIVERY else trace(entrypoint)
                print(json.dumps(steps), file=output, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
