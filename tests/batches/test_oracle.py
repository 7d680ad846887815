"""A file of thousands of lines on the deployed stack: lines = jobs = charges = result lines."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.domain.billing import NO_USAGE, ChargeOutcome, UsageEntry
from sd3.domain.job import Job, JobStatus
from tests.support.polling import wait_for
from tests.support.servers.instant_sd3 import FORBIDDEN, InstantSd3

LINES: Final = int(os.environ.get("LINES") or 10_000)
SECONDS: Final = 3600
CLIENT: Final = "many"
SINGLE_SEED: Final = 900_000


class Line(NamedTuple):
    """A line, and what its result should be: a status, and the code of its error."""

    text: str
    custom_id: str | None
    status: str = "succeeded"
    code: str | None = None
    seed: int | None = None


def line(number: int) -> Line:
    """Make a line. Of each hundred, five are no request and one is refused by the upstream."""
    name, seed = f"line {number}", number + 1
    values: dict[str, Any] = {"custom_id": name, "prompt": "a fox", "steps": 1, "seed": seed}
    openai = {"custom_id": name, "method": "POST", "url": "/v1/images/generations"}
    wrong = "validation_error"
    special = {
        7: Line("no json", None, "failed", "invalid_json"),
        23: Line('["no object"]', None, "failed", wrong),
        41: Line(json.dumps(values | {"seed": -1}), name, "failed", wrong),
        59: Line("x" * 70_000, None, "failed", "too_large"),
        73: Line(json.dumps(values | {"custom_id": 3}), None, "failed", wrong),
        83: Line(
            json.dumps(values | {"prompt": FORBIDDEN}), name, "failed", "content_policy", seed
        ),
        91: Line(json.dumps(openai | {"body": {"prompt": "a fox", "seed": seed}}), name, seed=seed),
    }
    return special.get(number % 100, Line(json.dumps(values), name, seed=seed))


class Client:
    """A client with a file in the inbox, who also sends single requests."""

    def __init__(self, stack: Stack) -> None:
        self._token = stack.deployed.issue_token(CLIENT)
        self._url, self._outputs = stack.api_url, stack.deployed.outputs()
        self.s3 = stack.deployed.client("s3")
        self.dynamodb: Any = stack.deployed.client("dynamodb")
        self.sqs = stack.deployed.client("sqs")

    def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Prefer": "respond-async"}
        with requests.Session() as http:
            http.trust_env = False
            response = http.request(method, self._url + path, headers=headers, **options)
        assert response.ok, response.text
        return response.json()

    def drop(self, data: bytes) -> None:
        self.s3.put_object(
            Bucket=self._outputs["InboxBucket"], Key=f"{CLIENT}/lines.jsonl", Body=data
        )

    def result(self, ending: str) -> bytes | None:
        try:
            reply = self.s3.get_object(
                Bucket=self._outputs["ImagesBucket"], Key=f"{CLIENT}/inbox/lines.{ending}"
            )
        except self.s3.exceptions.NoSuchKey:
            return None
        data: bytes = reply["Body"].read()
        return data

    def batch(self, *, ended: bool) -> dict[str, Any]:
        """Wait for the first result file of the batch, or for the last one, without the API."""

        def look() -> dict[str, Any] | None:
            batch: dict[str, Any] = json.loads(self.result("json") or b"{}")
            return batch if batch and bool(batch["completed_at"]) >= ended else None

        return wait_for(look, what="result file", seconds=SECONDS)

    def tell_again(self, batch_id: str) -> int:
        """Send the messages of all parts again; return the number of parts."""
        found = self.dynamodb.query(
            TableName=self._outputs["BatchesTable"],
            KeyConditionExpression="client_id = :client AND begins_with(#item, :part)",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={
                ":client": {"S": CLIENT}, ":part": {"S": f"part#{batch_id}#"},
            },
        )  # fmt: skip
        for part in range(len(found["Items"])):
            task = {"client_id": CLIENT, "batch_id": batch_id, "step": "make", "part": part}
            self.sqs.send_message(
                QueueUrl=self._outputs["BatchQueue"], MessageBody=json.dumps(task)
            )
        return len(found["Items"])

    def jobs(self) -> Iterator[Job]:
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self._outputs["JobsTable"],
            FilterExpression="client_id = :client AND attribute_exists(document)",
            ExpressionAttributeValues={":client": {"S": CLIENT}},
        )
        return (job_from(item) for page in pages for item in page["Items"])

    def ledger(self) -> UsageEntry:
        usages = UsageStore(self.dynamodb, self._outputs["UsageTable"])
        days = usages.days(CLIENT, since="2026-01-01", until="2099-12-31")
        return reduce(UsageEntry.__add__, (day.usage for day in days), NO_USAGE)

    def single(self, number: int) -> None:
        """Queue one job, and wait until it has ended."""
        body = {"prompt": "a hen", "steps": 1, "seed": SINGLE_SEED + number}
        job = self.call("POST", "/generate/sd3", json=body)

        def look() -> bool:
            return bool(self.call("GET", f"/jobs/{job['id']}")["status"] == "succeeded")

        wait_for(look, what="end of a single job", seconds=SECONDS)


def test_lines_are_jobs_are_charges_are_result_lines(
    stack: Stack, upstream: InstantSd3, deaths: Path
) -> None:
    lines = [line(number) for number in range(LINES)]
    client = Client(stack)
    client.drop(b"\xef\xbb\xbf" + "\r\n".join(each.text for each in lines).encode())
    batch_id = client.batch(ended=False)["id"]
    path = f"/batches/{batch_id}"
    since = time.monotonic()

    # Single jobs end while most of the lines wait.
    wait_for(lambda: upstream.calls, what="first line that is generated", seconds=SECONDS)
    for number in range(5):
        client.single(number)
    counts = client.call("GET", path)["request_counts"]
    assert counts["completed"] + counts["failed"] < counts["total"] == LINES

    parts = client.tell_again(batch_id)
    outcome = client.batch(ended=True)
    took = time.monotonic() - since
    died = len(list(deaths.iterdir()))
    print(f"{LINES} lines in {parts} parts took {took:.0f} s, with {died} deaths")  # noqa: T201
    assert {"split", "made", "results"} < {each.name for each in deaths.iterdir()}
    assert len(list(deaths.glob("part *"))) >= LINES // 1000

    # Every line has one result, in the order of the lines.
    batch = client.call("GET", path)
    results = [json.loads(each) for each in (client.result("jsonl") or b"").splitlines()]
    assert [
        (one["line"], one["custom_id"], one["status"], one["error"] and one["error"]["code"])
        for one in results
    ] == [(at, each.custom_id, each.status, each.code) for at, each in enumerate(lines, 1)]
    statuses = Counter(each.status for each in lines)
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {
        "total": LINES, "completed": statuses["succeeded"], "failed": statuses["failed"],
    }  # fmt: skip

    # Every line that is a request has one job, which has called the upstream once.
    singles, jobs = [], {}
    for job in client.jobs():
        if job.batch:
            jobs[job.id] = job
        else:
            singles.append(job)
    assert len(singles) == 5
    assert {one["job_id"] for one in results if one["job_id"]} == jobs.keys()
    asked = [each.seed for each in lines if each.seed]
    assert sorted(job.seeds[0] for job in jobs.values()) == asked
    assert all(len(job.charges) == 1 for job in jobs.values())
    assert upstream.calls == Counter([*asked, *(SINGLE_SEED + number for number in range(5))])

    # What the jobs have cost is what the batch says, and what the client's usage says.
    outcomes = Counter(job.charges[0].outcome for job in jobs.values())
    assert outcomes[ChargeOutcome.CHARGED] == statuses["succeeded"]
    assert round(batch["cost_usd"] * 1e6) == sum(job.cost_micros for job in jobs.values())
    everything = reduce(UsageEntry.__add__, (job.usage for job in (*jobs.values(), *singles)))
    assert (
        Counter(job.status for job in jobs.values())[JobStatus.SUCCEEDED] == everything.images - 5
    )
    wait_for(lambda: client.ledger() == everything, what="exact ledger")

    assert {name: outcome[name] for name in batch} == batch
    stored = client.s3.get_object(
        Bucket=outcome["results"]["bucket"], Key=outcome["results"]["key"]
    )
    assert stored["Body"].read() == client.result("jsonl")
