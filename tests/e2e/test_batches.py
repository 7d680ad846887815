"""Batches of the deployed stack: from many lines to one file of results."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.support.functions import idle
from tests.support.polling import wait_for


class Batches:
    """A client that sends batches."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url, self._session = url, session

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        return self._session.request(
            method, f"{self._url}{path}", json=body, headers=headers, timeout=30,
            allow_redirects=False,
        )  # fmt: skip

    def send(self, requests_: list[dict[str, Any]], **headers: str) -> dict[str, Any]:
        response = self.call("POST", "/batches", {"requests": requests_}, **headers)
        assert response.status_code == 202, response.text
        batch: dict[str, Any] = response.json()
        return batch

    def ended(self, batch: dict[str, Any]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            now: dict[str, Any] = self.call("GET", f"/batches/{batch['id']}").json()
            return now if now["completed_at"] else None

        return wait_for(look, what="end of the batch")

    def results(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.call("GET", f"/batches/{batch['id']}/results")
        assert found.status_code == 302, found.text
        file = requests.get(found.headers["Location"], timeout=10)
        return [json.loads(line) for line in file.text.splitlines()]


@pytest.fixture
def batches(stack: Stack, client: requests.Session) -> Batches:
    return Batches(stack.api_url, client)


def test_every_line_of_a_batch_has_one_result(
    batches: Batches, new_token: Callable[[], str]
) -> None:
    lines = [
        {"custom_id": "fox", "prompt": "a fox", "steps": 1},
        {"custom_id": "wrong", "prompt": "an owl", "steps": 1, "seed": -1},
        {"custom_id": "refused", "prompt": "a sketch-forbidden fox", "steps": 1},
    ]
    batch = batches.send(lines, **{"Idempotency-Key": "one"})
    assert batches.send(lines, **{"Idempotency-Key": "one"})["id"] == batch["id"]
    other = batches.call("POST", "/batches", {"requests": lines[:1]}, **{"Idempotency-Key": "one"})
    assert other.json()["code"] == "idempotency_mismatch"
    ended = batches.ended(batch)
    assert (ended["status"], ended["error"]) == ("completed", None)
    assert ended["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    fox, wrong, refused = batches.results(batch)
    assert (fox["custom_id"], fox["line"], fox["status"]) == ("fox", 1, "succeeded")
    assert [wrong["custom_id"], wrong["job_id"], wrong["error"]["code"]] == [
        "wrong", None, "validation_error",
    ]  # fmt: skip
    assert wrong["error"]["detail"][0]["loc"] == ["body", "seed"]
    assert (refused["status"], refused["error"]["code"]) == ("failed", "content_policy")
    assert batches.call("GET", fox["images"][0]).status_code == 302
    job = batches.call("GET", f"/jobs/{fox['job_id']}").json()
    assert job["batch"] == {"id": batch["id"], "custom_id": "fox"}
    assert ended["cost_usd"] == job["cost_usd"]
    batches._session.headers["Authorization"] = f"Bearer {new_token()}"
    for path in ("", "/results"):
        assert batches.call("GET", f"/batches/{batch['id']}{path}").status_code == 404


def test_a_canceled_batch_has_a_result_for_each_line(stack: Stack, batches: Batches) -> None:
    lines = [{"custom_id": str(n), "prompt": "a fox", "steps": 1} for n in range(10)]
    with idle(stack, "WorkerFunction"):  # else all lines may have ended before
        batch = batches.send(lines)
        canceled = batches.call("POST", f"/batches/{batch['id']}/cancel")
        assert (canceled.status_code, canceled.json()["status"]) == (202, "cancelling")
        ended = batches.ended(batch)
    assert ended["status"] == "canceled"
    counts = ended["request_counts"]
    results = batches.results(batch)
    assert [one["custom_id"] for one in results] == [one["custom_id"] for one in lines]
    assert counts["completed"] == sum(one["status"] == "succeeded" for one in results)
    assert counts["completed"] + counts["failed"] == counts["total"] == len(lines)
    [listed] = batches.call("GET", "/batches").json()["batches"]
    assert listed == ended
