"""All kinds of data that a stack can have of a client, and dumps of all that it has."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.stacks import DeployedStack
from sd3.adapters.dynamodb.batches import BatchStore
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.webhooks import WebhookStore
from sd3.domain.batch import Batch, RefusedLine, new_batch_id
from sd3.domain.batch_lines import LineRange
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.delivery import Delivery, delivery_of
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.domain.webhook import JOB_EVENTS

TABLES = ("ClientsTable", "JobsTable", "UsageTable", "WebhooksTable", "BatchesTable")
BUCKETS = ("ImagesBucket", "InboxBucket")
UPLOAD = "0753aed38dd16ef96528d89cf0af37ce"


def add_data(stack: DeployedStack, client_id: str, *, limits: ClientLimits = NO_LIMITS) -> None:
    """Add a job of each status, a deleted job, a key, a result, a file of each kind, and a webhook.

    The prompts, and the bytes of all files, begin with the client's id.
    """
    outputs = stack.outputs()
    store = JobStore(
        stack.client("dynamodb"), outputs["JobsTable"], usage_table=outputs["UsageTable"]
    )
    for status in JobStatus:
        store.create(_job(client_id, status.value, status=status), limits=limits)
    deleted = store.create(_job(client_id, "deleted", status=JobStatus.FAILED))
    assert deleted
    store.delete(deleted, now=datetime.now(UTC))
    with_key = _job(client_id, "with-key", status=JobStatus.FAILED)
    store.create_once(with_key, "key", fingerprint="x", instead_of=None)
    store.note_result(_job(client_id, "succeeded", status=JobStatus.SUCCEEDED, result_key="x"))
    _add_webhook(WebhookStore(stack.client("dynamodb"), outputs["WebhooksTable"]), client_id)
    _add_batch(BatchStore(stack.client("dynamodb"), outputs["BatchesTable"]), client_id)
    for bucket, key in (
        ("ImagesBucket", f"{client_id}/{id_of(client_id, 'succeeded')}/0.jpg"),
        ("ImagesBucket", f"_renditions/{client_id}/{id_of(client_id, 'succeeded')}/0.w64.avif"),
        ("ImagesBucket", f"{client_id}/{id_of(client_id, 'queued')}/init.png"),
        ("ImagesBucket", f"{client_id}/inbox/a file.json"),
        ("ImagesBucket", f"{client_id}/batches/a batch/results.jsonl"),
        ("ImagesBucket", f"_uploads/{client_id}/{UPLOAD}"),
        ("InboxBucket", f"{client_id}/a file.png"),
    ):
        stack.client("s3").put_object(
            Bucket=outputs[bucket],
            Key=key,
            Body=f"{client_id} {key}".encode(),
            Metadata={"prompt": f"{client_id} in its metadata"} if bucket == "InboxBucket" else {},
        )


def _add_batch(store: BatchStore, client_id: str) -> None:
    """Add a batch of two lines, of which one was refused, with an Idempotency-Key."""
    now = datetime.now(UTC)
    batch = Batch(
        id=new_batch_id(now),
        client_id=client_id,
        created_at=now,
        expires_at=now + timedelta(days=1),
        metadata={"about": f"{client_id} in its metadata"},
    )
    store.create(batch, "key", fingerprint="x")
    store.add_parts(batch, [LineRange(1, 2, 0, 100)])
    store.refuse(batch, RefusedLine(line=1, custom_id=f"{client_id} line", code="x", message="x"))


def _add_webhook(store: WebhookStore, client_id: str) -> None:
    """Add an endpoint that is disabled, so that nobody calls it, and the deliveries of two ends."""
    settings = store.settings(client_id).set(f"https://hooks.example/{client_id}", JOB_EVENTS)
    store.save_settings(settings.disable("no message arrived", now=datetime.now(UTC)))
    for status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        ended = _job(client_id, status.value, status=status)
        delivery = Delivery.of(delivery_of(ended, is_own=False))
        store.save_delivery(delivery.cancel("the webhook was removed or disabled"))


def id_of(client_id: str, name: str) -> str:
    """Return the id of one of the jobs of a client, which does not name the client."""
    return f"{hashlib.sha256(client_id.encode()).hexdigest()[:8]}-{name}"


def _job(client_id: str, name: str, **fields: Any) -> Job:
    job_id = id_of(client_id, name)
    now, has_ended = datetime.now(UTC), JobStatus(fields["status"]).is_terminal
    return Job.model_validate(
        {
            "id": job_id,
            "client_id": client_id,
            "created_at": now,
            "completed_at": now if has_ended else None,
            "expires_at": now + timedelta(days=1),
            "request": GenerateRequest(prompt=f"{client_id} in a prompt"),
            "seeds": (1,),
            "lease_until": None if has_ended else now + timedelta(hours=1),
            "quote": {"upstream": "fake", "micros": 30_000},
            "charges": [{"upstream": "fake", "outcome": "charged", "micros": 30_000}] * has_ended,
            "init_image_key": f"{client_id}/{job_id}/init.png" if name == "queued" else None,
            "inbox": {"result_key": f"{client_id}/inbox/a file.json", "sequencer": "1"}
            if name == "queued"
            else None,
            "images": [{"index": 0, "seed": 1, "key": f"{client_id}/{job_id}/0.jpg"}]
            if name == "succeeded"
            else [],
            **fields,
        }
    )


def dump(stack: DeployedStack) -> dict[str, str]:
    """Read everything: each item of a table, and each object with its bytes, as text by its key."""
    return dict([*_items(stack), *_objects(stack)])


def _items(stack: DeployedStack) -> Iterator[tuple[str, str]]:
    for table in TABLES:
        pages = stack.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=stack.outputs()[table], ConsistentRead=True):
            for item in page["Items"]:
                text = json.dumps(item, sort_keys=True, default=sorted)
                yield f"{table} {text}", text


def _objects(stack: DeployedStack) -> Iterator[tuple[str, str]]:
    s3 = stack.client("s3")
    for bucket in BUCKETS:
        name = stack.outputs()[bucket]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for found in page.get("Contents", ()):
                yield f"{bucket} {found['Key']}", _content(s3, name, found)


def _content(s3: Any, bucket: str, found: Any) -> str:
    if found.get("StorageClass", "STANDARD") != "STANDARD":
        return str(found["ETag"])  # S3 gives out no archives
    reply = s3.get_object(Bucket=bucket, Key=found["Key"])
    # The bytes of images are no UTF-8, in which each fault takes its time. A client's id is ASCII.
    return str(reply["Body"].read().decode("latin-1"))


def about(client_id: str, found: dict[str, str]) -> dict[str, str]:
    """Choose what names a client."""
    word = re.compile(rf"(?<![A-Za-z0-9-]){client_id}(?![A-Za-z0-9-])")
    return {
        key: text
        for key, text in found.items()
        if (client_id in key or client_id in text) and word.search(f"{key} {text}")
    }
