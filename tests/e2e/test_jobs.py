"""The jobs API as its users call it, through the deployed stack."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urljoin

import pytest
import requests

from local.stack import Stack
from tests.support.functions import configure, idle
from tests.support.polling import wait_for
from tests.support.servers.counting_sd3 import HELD_SEED, CountingSd3, counting

ASYNC: Final[dict[str, Any]] = {"Prefer": "respond-async"}
EACH_ROUTE: Final = (
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("GET", "/images/0"),
    ("POST", "/reproduce"),
)


class Client:
    """One client of the service."""

    def __init__(self, stack: Stack, token: str) -> None:
        self._url = stack.api_url
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, *, json: Any = None, **headers: str) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            named = {name.replace("_", "-"): text for name, text in headers.items()}
            return session.request(
                method,
                self._url + path,
                headers=self._headers | named,
                json=json,
                timeout=60,
                allow_redirects=False,
            )

    def generate(self, *, seed: int = 1, **headers: Any) -> Any:
        return self.call("POST", "/generate/sd3", json={"prompt": "a fox", "seed": seed}, **headers)

    def job(self, job_id: str, **headers: str) -> Any:
        return self.call("GET", f"/jobs/{job_id}", **headers)

    def each_route(self, job_id: str) -> list[tuple[int, str]]:
        """Status and code of every route of a job."""
        responses = [self.call(method, f"/jobs/{job_id}{rest}") for method, rest in EACH_ROUTE]
        return [(response.status_code, response.json()["code"]) for response in responses]

    def running(self) -> str:
        """Wait for the one running job, and return its id."""
        while True:
            listed = self.call("GET", "/jobs?status=running").json()["jobs"]
            if listed:
                return str(listed[0]["id"])


@pytest.fixture
def ann(stack: Stack, new_token: Callable[[], str]) -> Client:
    return Client(stack, new_token())


@pytest.fixture
def bob(stack: Stack, new_token: Callable[[], str]) -> Client:
    return Client(stack, new_token())


@pytest.fixture
def idle_worker(stack: Stack) -> Iterator[None]:
    """Disable the worker, so that jobs stay queued."""
    with idle(stack, "WorkerFunction"):
        yield


@contextmanager
def upstream_of_generate(stack: Stack, url: str) -> Iterator[None]:
    functions = stack.deployed.client("lambda")
    name = stack.deployed.resource("GenerateFunction")
    was = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = was | {"UPSTREAM_URL": url}
    configure(functions, name, Environment={"Variables": changed})
    try:
        yield
    finally:
        configure(functions, name, Environment={"Variables": was})


@pytest.fixture(scope="module")
def counted(stack: Stack) -> Iterator[CountingSd3]:
    """Provide an upstream of generate that counts calls and delays one seed until release."""
    with counting(stack.upstream_url) as server, upstream_of_generate(stack, server.url):
        yield server


def test_a_queued_job_is_found_at_its_location_and_waited_for(stack: Stack, ann: Client) -> None:
    accepted = ann.generate(**ASYNC)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "queued")
    assert 2 <= int(accepted.headers["Retry-After"]) <= 15
    assert accepted.headers["Preference-Applied"] == "respond-async"
    address = urljoin(accepted.url, accepted.headers["Location"])
    assert address == f"{stack.api_url}/jobs/{accepted.json()['id']}"
    while (waited := ann.job(accepted.json()["id"], Prefer="wait=20")).headers.get("Retry-After"):
        assert waited.headers["Preference-Applied"] == "wait=20"
    assert (waited.status_code, waited.json()["status"]) == (200, "succeeded")
    assert waited.headers["Preference-Applied"] == "wait=20"


def test_jobs_that_wait_tell_their_place_until_they_end(stack: Stack, ann: Client) -> None:
    def are_in_order() -> bool:
        first, second = [ann.job(job_id).json()["queue_position"] for job_id in job_ids]
        return bool(second == first + 1)  # jobs of other tests may wait before them

    done = ann.generate(**ASYNC).json()["id"]  # by which the worker's pace is known, soon after
    while (read := ann.job(done, Prefer="wait=20")).headers.get("Retry-After"):
        pass
    with idle(stack, "WorkerFunction"):
        job_ids = [ann.generate(**ASYNC).json()["id"] for _ in range(2)]
        late = ann.generate(**ASYNC, Cancel_After="1s").json()["id"]
        wait_for(are_in_order, what="order")
        wait_for(lambda: ann.job(job_ids[0]).json()["eta_seconds"], what="estimate")
        ended = ann.job(late, Prefer="wait=20").json()
        assert (ended["status"], ended["cost_usd"], ended["images"]) == ("canceled", 0, [])
        canceled = [ann.call("POST", f"/jobs/{job_id}/cancel").json() for job_id in job_ids]
    assert read.json()["status"] == "succeeded"
    for one in (read.json(), ended, *canceled):
        assert (one["queue_position"], one["eta_seconds"], one["progress"]) == (None,) * 3


def test_jobs_are_listed_in_pages_to_their_own_client(ann: Client, bob: Client) -> None:
    ids = [ann.generate(**ASYNC).json()["id"] for _ in range(3)]
    first = ann.call("GET", "/jobs?limit=2").json()
    cursor = first["next_cursor"]
    second = ann.call("GET", f"/jobs?limit=2&cursor={cursor}").json()
    listed = [job["id"] for job in (*first["jobs"], *second["jobs"])]
    assert listed == ids[::-1]
    assert second["next_cursor"] is None
    assert bob.call("GET", "/jobs").json() == {"jobs": [], "next_cursor": None}
    assert bob.call("GET", f"/jobs?cursor={cursor}").status_code == 422


@pytest.mark.usefixtures("idle_worker")
def test_a_queued_job_is_canceled_once_and_deleted(ann: Client, bob: Client) -> None:
    job_id = ann.generate(**ASYNC).json()["id"]
    canceled = ann.call("POST", f"/jobs/{job_id}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert canceled.json()["cost_usd"] == 0
    again = ann.call("POST", f"/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_cancelable")
    deleted = ann.call("DELETE", f"/jobs/{job_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert ann.each_route(job_id) == [(410, "gone")] * len(EACH_ROUTE)
    assert bob.each_route(job_id) == [(404, "not_found")] * len(EACH_ROUTE)


def test_another_client_finds_no_job_on_any_route(ann: Client, bob: Client) -> None:
    job_id = ann.generate().json()["id"]
    assert bob.each_route(job_id) == [(404, "not_found")] * len(EACH_ROUTE)
    assert ann.job(job_id).json()["status"] == "succeeded"


def test_a_chosen_request_id_is_no_jobs_id(ann: Client, bob: Client) -> None:
    first = ann.generate()
    for client in (ann, bob):
        chosen = client.generate(seed=2, X_Amzn_RequestId=first.json()["id"])
        assert chosen.status_code == 200
        given = chosen.headers["x-amz-apigw-id"]
        assert chosen.json()["id"] == given.rstrip("=") != first.json()["id"]
        assert client.job(given).json()["id"] == chosen.json()["id"]
    assert ann.job(first.json()["id"]).json()["images"][0]["seed"] == 1


def test_the_stable_address_of_an_image_leads_to_it(ann: Client) -> None:
    job = ann.generate().json()
    response = ann.call("GET", f"/jobs/{job['id']}/images/0")
    assert (response.status_code, response.content) == (302, b"")
    assert response.headers["Cache-Control"] == "no-store"
    image = requests.get(response.headers["Location"], timeout=10)
    assert hashlib.sha256(image.content).hexdigest() == job["images"][0]["sha256"]
    assert ann.call("GET", f"/jobs/{job['id']}/images/1").status_code == 404
    assert ann.call("DELETE", f"/jobs/{job['id']}").status_code == 204
    assert requests.get(response.headers["Location"], timeout=10).status_code == 404


@pytest.mark.usefixtures("idle_worker")
def test_polling_is_a_304_until_the_job_changes(ann: Client) -> None:
    job_id = ann.generate(**ASYNC).json()["id"]
    tag = ann.job(job_id).headers["ETag"]
    for prefer in ("wait=0", "wait=1"):
        same = ann.job(job_id, If_None_Match=tag, Prefer=prefer)
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    ann.call("POST", f"/jobs/{job_id}/cancel")
    changed = ann.job(job_id, If_None_Match=tag, Prefer="wait=20")
    assert (changed.status_code, changed.json()["status"]) == (200, "canceled")


def test_a_repeated_request_returns_its_job(ann: Client, counted: CountingSd3) -> None:
    key: dict[str, Any] = {"Idempotency-Key": "x" * 255}
    before = counted.paid[1000]
    first, again = (ann.generate(seed=1000, **key) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["id"] == first.json()["id"]
    other = ann.generate(seed=1001, **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert counted.paid[1000] - before == 1


def test_of_two_calls_with_one_key_at_once_one_generates(ann: Client, counted: CountingSd3) -> None:
    before = counted.paid[HELD_SEED]
    counted.release.clear()
    with ThreadPoolExecutor(2) as threads:
        calls = {threads.submit(ann.generate, seed=HELD_SEED, Idempotency_Key="k") for _ in "12"}
        done, generating = wait(calls, return_when=FIRST_COMPLETED)
        counted.release.set()
    (other,), (generated,) = done, generating
    assert (other.result().status_code, other.result().json()["status"]) == (202, "running")
    assert (generated.result().status_code, generated.result().json()["status"]) == (
        200,
        "succeeded",
    )
    assert other.result().json()["id"] == generated.result().json()["id"]
    assert counted.paid[HELD_SEED] - before == 1


@pytest.mark.parametrize(("method", "rest"), [("POST", "/cancel"), ("DELETE", "")])
def test_a_job_that_is_ended_while_it_is_generated_leaves_no_image(
    stack: Stack, ann: Client, counted: CountingSd3, method: str, rest: str
) -> None:
    counted.release.clear()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(ann.generate, seed=HELD_SEED)
        try:
            job_id = ann.running()
            assert ann.call(method, f"/jobs/{job_id}{rest}").ok
        finally:
            counted.release.set()
    response = call.result()
    if rest:
        assert (response.status_code, response.json()["status"]) == (200, "canceled")
        assert ann.job(job_id).json()["cost_usd"] == 0.03
    else:
        assert (response.status_code, response.json()["code"]) == (410, "gone")
    bucket = stack.deployed.outputs()["ImagesBucket"]
    objects = stack.deployed.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    assert not [one["Key"] for one in objects if job_id in one["Key"]]


def test_what_cannot_be_is_a_422_that_names_it(ann: Client) -> None:
    job_id = ann.generate(**ASYNC).json()["id"]
    wrong = [
        (("GET", f"/jobs/{job_id}", {"Prefer": f"wait={text}"}), ["header", "Prefer"])
        for text in ("-1", "abc", "1000")
    ]
    wrong += [
        (("POST", "/generate/sd3", {"Idempotency-Key": key}), ["header", "Idempotency-Key"])
        for key in ("x" * 256, "a\tb", "")
    ]
    wrong += [
        (("GET", f"/jobs?{name}={text}", {}), ["query", name])
        for name, text in (
            ("cursor", "forged"),
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "2&limit=2"),
            ("status", "done"),
            ("page", "2"),
        )
    ]
    for (method, path, headers), loc in wrong:
        response = ann.call(method, path, json={"prompt": "x"}, **headers)
        assert response.status_code == 422, (path, headers, response.text)
        assert [field_error["loc"] for field_error in response.json()["detail"]] == [loc]
