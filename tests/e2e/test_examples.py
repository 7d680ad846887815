"""The programs of examples/, run as somebody who has copied them, against the deployed stack."""

import base64
import io
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

import boto3
import pytest
import requests
from PIL import Image
from standardwebhooks import Webhook

from local.environment import ROOT, free_port
from local.stack import Stack
from tests.support.event_queue import EventQueue
from tests.support.polling import wait_for
from tests.support.programs import load_example, serving
from tests.support.servers.flaky_gateway import Fault, FlakyGateway
from tests.support.servers.jwt_issuer import ELSEWHERE, LoopbackIssuer, rsa_key

EXAMPLES: Final = ROOT / "examples"
PRICE_MICROS: Final = 30_000
"""Of one image."""
BUCKETS: Final = ("INBOX_BUCKET", "IMAGES_BUCKET")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have tenacity wait for nothing; return the seconds that it would have waited."""
    seconds: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=seconds.append))
    return seconds


def test_an_order_is_paid_once_whatever_breaks_and_another_is_refused_at_once(
    stack: Stack,
    http: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    slept: list[float],
    tmp_path: Path,
) -> None:
    budget = {"daily_budget_micros": PRICE_MICROS}
    token = stack.deployed.tokens().issue("orders", limits=budget)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SD3_API_TOKEN", token)

    def run(order: str) -> None:
        monkeypatch.setattr(sys, "argv", ["service_with_retries.py", order, "a fox"])
        runpy.run_path(str(EXAMPLES / "service_with_retries.py"), run_name="__main__")

    with FlakyGateway(stack.api_url, *Fault) as gateway:
        monkeypatch.setenv("SD3_API_URL", gateway.api_url)
        run("order-7")
        assert slept[0] >= 7  # as long as the first answer said
        assert len(slept) == len(Fault)
        made = [call for call in gateway.requests if call.method == "POST"]
        assert {call.headers["idempotency-key"] for call in made} == {"order-7"}
        with Image.open(tmp_path / "order-7-0.jpg") as image:
            assert image.size == (1024, 1024)
        run("order-7")  # as after a crash
        calls = len(gateway.requests)
        with pytest.raises(SystemExit, match="budget_exceeded"):
            run("order-8")
        assert len(gateway.requests) == calls + 1
    jobs = http.get(f"{stack.api_url}/jobs", headers={"Authorization": f"Bearer {token}"}).json()
    assert len(jobs["jobs"]) == 1


@dataclass(frozen=True, kw_only=True)
class Phone:
    """A user's app, which calls the backend."""

    url: str
    jwt: str

    def call(self, method: str, path: str, *, key: str = "", **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.jwt}"} if self.jwt else {}
        headers |= {"Idempotency-Key": key} if key else {}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **options)

    def ask(self, prompt: str, *, key: str) -> Any:
        response = self.call("POST", "/pictures", key=key, json={"prompt": prompt})
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def status(self, path: str, **query: str) -> int:
        return self.call("GET", path, params=query).status_code


@dataclass(frozen=True)
class Backend:
    """The example that runs, and the service's client that it is."""

    url: str
    output: Path
    issuer: LoopbackIssuer
    service: requests.Session
    service_url: str
    secret: str

    def send(self, job_id: str, *, message: str) -> None:
        """Send a message as the service does."""
        job = {"id": job_id, "status": "succeeded", "metadata": {"user": "ada"}}
        body, now = json.dumps({"type": "job.succeeded", "data": job}), datetime.now(UTC)
        headers = {
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(message, now, body),
        }
        url = f"{self.url}/hooks/images"
        assert requests.post(url, data=body, headers=headers, timeout=60).status_code == 204

    def phone(self, user: str, **claims: Any) -> Phone:
        jwt = self.issuer.token(**({"sub": user, "aud": "app"} | claims))
        return Phone(url=self.url, jwt=jwt)

    def pushed(self, picture: str) -> list[str]:
        """Return the statuses of a picture that its user's phone was told."""
        return re.findall(rf"^push to \w+ {picture} (\w+)$", self.output.read_text(), re.MULTILINE)

    def delivery(self, picture: str) -> Any:
        """Return the message of a picture, once it has arrived."""
        log = self.service.get(f"{self.service_url}/webhook/deliveries").json()["deliveries"]
        arrived = ("delivered", picture)
        found = [one["id"] for one in log if (one["status"], one["job_id"]) == arrived]
        return found and found[0]


@pytest.fixture(scope="module")
def backend(
    stack: Stack,
    new_token: Callable[[], str],
    issuer: LoopbackIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Backend]:
    token, port, service = new_token(), free_port(0), requests.Session()
    service.headers["Authorization"] = f"Bearer {token}"
    secret = service.get(f"{stack.api_url}/webhook/secret").json()["secret"]
    variables = {
        "SD3_API_URL": stack.api_url,
        "SD3_API_TOKEN": token,
        "BACKEND_URL": f"http://127.0.0.1:{port}",
        "WEBHOOK_SECRET": secret,
        "JWT_KEYS": issuer.url + ELSEWHERE,
        "JWT_ISSUER": issuer.url,
        "JWT_AUDIENCE": "app",
    }
    program = ("--app-dir", EXAMPLES, "mobile_backend:app", "--port", "{port}")
    command = (sys.executable, "-m", "uvicorn", *program)
    folder = tmp_path_factory.mktemp("backend")
    with service, serving(command, folder, port=port, **variables) as (url, output):
        yield Backend(url, output, issuer, service, stack.api_url, secret)


def test_users_of_a_mobile_app_see_their_own_pictures_alone(backend: Backend) -> None:
    ada, bob = backend.phone("ada"), backend.phone("bob")
    fox, cat = ada.ask("a fox", key="1"), bob.ask("a sketch-forbidden cat", key="1")
    assert (ada.ask("a fox", key="1"), fox != cat) == (fox, True)

    message = wait_for(lambda: backend.delivery(fox), what="delivery")
    backend.send(fox, message=message)  # a message can come twice
    wait_for(lambda: backend.pushed(fox) and backend.pushed(cat), what="pushes")
    backend.send("marker", message="msg_1")
    wait_for(lambda: backend.pushed("marker"), what="push that comes after all others")
    assert (backend.pushed(fox), backend.pushed(cat)) == (["succeeded"], ["failed"])

    shown = ada.call("GET", f"/pictures/{fox}", params={"width": "256"}).json()
    assert len(base64.b64decode(shown["thumbhash"])) > 16
    with Image.open(io.BytesIO(requests.get(shown["url"], timeout=60).content)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 256))
    failed = bob.call("GET", f"/pictures/{cat}").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "content_policy")

    nobodys = bob.call("GET", "/pictures/nobodys")
    anothers = bob.call("GET", f"/pictures/{fox}")
    assert (anothers.status_code, anothers.json()) == (404, nobodys.json())


def test_a_mobile_backend_refuses_what_is_not_its_users(backend: Backend) -> None:
    ada = backend.phone("ada")
    strangers = [
        backend.phone("ada", aud="sd3"),
        backend.phone("ada", iss="https://issuer.example"),
        backend.phone("ada", exp=1),
        backend.phone("ada", key=rsa_key("of somebody else")),
        Phone(url=backend.url, jwt=""),
        Phone(url=backend.url, jwt="no.jwt.at-all"),
    ]
    assert {phone.status("/pictures/1") for phone in strangers} == {401}
    assert ada.status("/pictures/1%3Flimit=9") == 422  # it would be the list of all jobs
    blank = ada.call("POST", "/pictures", key="2", json={"prompt": " "})
    assert (blank.status_code, blank.json()["detail"][0]["loc"]) == (422, ["body", "prompt"])
    assert ada.call("POST", "/pictures", json={"prompt": "a fox"}).status_code == 422
    signed = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1"}
    for headers in (signed, {}):
        forged = requests.post(
            f"{backend.url}/hooks/images", data="{}", headers=headers, timeout=60
        )
        assert forged.status_code == 401


class Pipeline:
    """The example, as a program and as a Lambda function, and its own bucket."""

    def __init__(self, stack: Stack, client_id: str, own_bucket: str) -> None:
        self._ended = EventQueue(stack, "Image Batch Ended")
        self._client_id, self._bucket = client_id, own_bucket
        self._s3 = stack.deployed.client("s3")
        self.program = load_example("s3_pipeline")

    def event(self) -> Any:
        """Wait for the one event of the client."""
        return wait_for(lambda: self._ended.events(self._client_id), what="event")[0]

    def kept(self) -> dict[str, bytes]:
        """Return the objects of the own bucket, by their keys in the batch's folder."""
        listed = self._s3.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        return {
            each["Key"].partition("/")[2]: self._s3.get_object(
                Bucket=self._bucket, Key=each["Key"]
            )["Body"].read()
            for each in listed
        }


@pytest.fixture
def pipeline(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    outputs = stack.deployed.outputs()
    client_id, own_bucket = f"pipeline-{uuid4().hex[:8]}", f"own-{uuid4().hex[:8]}"
    stack.deployed.issue_token(client_id)
    stack.deployed.client("s3").create_bucket(Bucket=own_bucket)
    variables = {name: outputs[name.title().replace("_", "")] for name in BUCKETS}
    for name, value in (
        stack.aws | variables | {"CLIENT": client_id, "OWN_BUCKET": own_bucket}
    ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return Pipeline(stack, client_id, own_bucket)


def test_a_pipeline_keeps_the_images_of_the_lines_that_it_has_dropped(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    lines = [
        {"custom_id": "fox", "prompt": "a fox", "steps": 1, "num_images": 2},
        {"custom_id": "typo", "promt": "a fox"},
        {"custom_id": "refused", "prompt": "a sketch-forbidden fox"},
    ]
    file = tmp_path / "foxes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch = pipeline.program.drop(file)
    event = pipeline.event()
    assert event["detail"]["id"] == batch["id"]
    for _ in range(2):  # an event can come twice
        pipeline.program.handler(event, None)
    kept = pipeline.kept()
    assert set(kept) == {
        "fox/0.jpg", "fox/1.jpg", "typo/error.json", "refused/error.json", "batch.json",
    }  # fmt: skip
    with Image.open(io.BytesIO(kept["fox/1.jpg"])) as image:
        assert image.size == (1024, 1024)
    codes = [json.loads(kept[f"{name}/error.json"])["code"] for name in ("typo", "refused")]
    assert codes == ["validation_error", "content_policy"]
    assert json.loads(kept["batch.json"])["request_counts"]["total"] == 3
