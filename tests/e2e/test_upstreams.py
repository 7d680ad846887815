"""The deployed service with three vendors in an order, each a server that follows its documents."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any, Final, NamedTuple

import pytest
import requests
from PIL import Image

from local import sam
from local.environment import ROOT
from local.processes import locked
from local.stack import Stack
from tests.support.factories.images import BLUE, RED, SECRET, phone_photo
from tests.support.polling import wait_for
from tests.support.servers.scripted_server import http_reply
from tests.support.servers.vendors import stability
from tests.support.servers.vendors.bedrock import BedrockServer
from tests.support.servers.vendors.openai import OpenaiServer
from tests.support.servers.vendors.server import KEY, VendorServer, html, hung_up
from tests.support.servers.vendors.stability import StabilityServer

ORDER: Final = "stability,bedrock,openai"


class Vendors(NamedTuple):
    """The three servers, in their order."""

    stability: StabilityServer
    bedrock: BedrockServer
    openai: OpenaiServer

    def counts(self) -> tuple[int, ...]:
        """Count the calls to each."""
        return tuple(len(server.calls) for server in self)


def redeploy(stack: Stack, parameters: dict[str, str], log: Any) -> None:
    """Update the stack, as an operator does who changes its upstreams."""
    with locked(ROOT / ".local/build.lock", wait=True):
        template = sam.build(ROOT / ".local", lambda _: None)
        sam.deploy(template, aws=stack.aws, parameters=parameters, log=log)


@pytest.fixture(scope="module")
def deployed(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[VendorServer, ...]]:
    """Update the stack to call the vendors' servers, and restore it afterwards."""
    log = tmp_path_factory.mktemp("upstreams") / "sam-deploy.log"
    formation = stack.deployed.client("cloudformation")
    [described] = formation.describe_stacks(StackName="sd3")["Stacks"]
    before = {each["ParameterKey"]: each["ParameterValue"] for each in described["Parameters"]}
    stored = {name: before[name] for name in ("Upstream", "UpstreamUrl", "UpstreamSecretArn")}
    keys = json.dumps({"stability": KEY, "bedrock": KEY})
    secret = stack.deployed.client("secretsmanager").create_secret(
        Name="vendors", SecretString=keys
    )
    with ExitStack() as servers:
        running = (
            servers.enter_context(StabilityServer()),
            servers.enter_context(BedrockServer()),
            servers.enter_context(OpenaiServer(key="")),
        )
        changed = {
            "Upstream": ORDER,
            "UpstreamUrl": ",".join(server.url for server in running),
            "UpstreamSecretArn": secret["ARN"],
        }
        redeploy(stack, changed, log)
        try:
            yield running
        finally:
            redeploy(stack, stored, log)


@pytest.fixture
def vendors(deployed: tuple[Any, ...], stack: Stack) -> Vendors:
    """Provide the vendors' servers, with no state left in them or in the service."""
    table = stack.deployed.resource("UpstreamsTable")
    for server, name in zip(deployed, ORDER.split(","), strict=True):
        server.forget()
        stack.deployed.client("dynamodb").delete_item(TableName=table, Key={"id": {"S": name}})
    return Vendors(*deployed)


def generate(client: requests.Session, stack: Stack, **fields: Any) -> requests.Response:
    headers = {"Prefer": "respond-async"} if fields.pop("queued", False) else {}
    body = {"prompt": "a fox", "steps": 1, **fields}
    return client.post(f"{stack.api_url}/generate/sd3", json=body, headers=headers, timeout=60)


def ended(client: requests.Session, stack: Stack, job_id: str) -> dict[str, Any] | None:
    """Return the job if it has ended."""
    job: dict[str, Any] = client.get(f"{stack.api_url}/jobs/{job_id}", timeout=60).json()
    return job if job["completed_at"] else None


def succeeded(client: requests.Session, stack: Stack, job_id: str) -> dict[str, Any] | None:
    """Return the job if it has succeeded."""
    job: dict[str, Any] = client.get(f"{stack.api_url}/jobs/{job_id}", timeout=60).json()
    return job if job["status"] == "succeeded" else None


def test_the_first_upstream_generates_each_image_with_its_own_seed(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    job = generate(client, stack, num_images=3, seed=7, width=1152, height=896).json()
    assert (job["status"], job["upstream"]) == ("succeeded", "stability")
    assert job["ignored"] == ["steps", "cfg_scale"]
    assert job["cost_usd"] == 0.195
    assert sorted(call.seed for call in vendors.stability.calls) == [7, 8, 9]
    assert [image["seed"] for image in job["images"]] == [7, 8, 9]
    # What was received, not what was requested.
    assert {(image["width"], image["height"]) for image in job["images"]} == {(1088, 896)}
    image = client.get(job["images"][0]["url"], headers={"Authorization": ""}, timeout=60)
    assert image.content.startswith(b"\xff\xd8\xff")


def test_what_the_first_rejects_is_generated_by_the_next(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_every_reply(stability.ERRORS["payment_required"])
    job = generate(client, stack, seed=7).json()
    assert (job["status"], job["upstream"], job["cost_usd"]) == ("succeeded", "bedrock", 0.08)
    assert vendors.counts() == (1, 1, 0)


def test_images_go_to_the_next_one_by_one(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_replies(stability.ERRORS["payment_required"], seed=8)
    vendors.bedrock.set_every_reply(html(503))
    job = generate(client, stack, num_images=2, seed=7).json()
    generated_by = [image["upstream"] for image in job["images"]]
    assert (job["upstream"], generated_by) == ("stability,openai", ["stability", "openai"])
    assert job["cost_usd"] == 0.065  # an engine of one's own costs nothing


def test_no_upstream_is_called_after_an_unknown_outcome(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_every_reply(hung_up)
    failed = generate(client, stack)
    assert (failed.status_code, failed.json()["code"]) == (502, "upstream_error")
    job = client.get(f"{stack.api_url}/jobs/{failed.json()['job_id']}", timeout=60).json()
    assert job["cost_usd"] == 0.065
    assert vendors.counts() == (1, 0, 0)


def test_a_rejected_prompt_is_sent_to_no_other_upstream(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_every_reply(stability.ERRORS["content_moderation"])
    assert generate(client, stack).json()["code"] == "content_policy"
    assert vendors.counts() == (1, 0, 0)


def test_an_upstream_that_always_fails_is_paused(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_every_reply(html(503))
    upstreams = [generate(client, stack).json()["upstream"] for _ in range(7)]
    assert upstreams == ["bedrock"] * 7
    assert vendors.counts() == (6, 7, 0), "the first failure after a success may be an exception"


def test_a_client_whose_jobs_always_fail_costs_the_others_nothing(
    client: requests.Session,
    stack: Stack,
    vendors: Vendors,
    new_token: Callable[[], str],
) -> None:
    bad = range(100, 107)
    for seed in bad:
        vendors.stability.set_replies(hung_up, seed=seed)
    assert generate(client, stack, seed=7).json()["upstream"] == "stability"
    for seed in bad[:6]:  # the first failure after a success may be an exception
        assert generate(client, stack, seed=seed).status_code == 502
    assert generate(client, stack, seed=bad[6]).json()["upstream"] == "bedrock"
    client.headers["Authorization"] = f"Bearer {new_token()}"
    assert generate(client, stack, seed=7).json()["upstream"] == "stability"


def test_an_answer_that_would_be_the_same_is_paid_once_by_the_worker_too(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_every_reply(html(200))
    job_id = generate(client, stack, queued=True).json()["id"]
    job = wait_for(lambda: ended(client, stack, job_id), what="end of the job")
    assert (job["status"], job["error"]["code"]) == ("failed", "upstream_error")
    assert (job["cost_usd"], vendors.counts()) == (0.065, (1, 0, 0))


def test_a_retry_after_that_is_no_time_hangs_no_job(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    times: dict[str, Any] = {
        "date": "Thu, 26 Nov 2026 22:00:00 GMT",
        "retry_after": "Thu, 99999999999999999999 Nov 2026 22:00:30 GMT",
    }
    for server in vendors:
        server.set_every_reply(http_reply(503, **times))
    failed = generate(client, stack)
    assert (failed.status_code, failed.json()["code"]) == (503, "upstream_unavailable")
    job = ended(client, stack, failed.json()["job_id"])
    assert job
    assert (job["status"], job["cost_usd"]) == ("failed", 0)


def test_a_throttled_upstream_is_left_alone_by_all(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.set_replies(http_reply(429, retry_after="60"))
    upstreams = [generate(client, stack).json()["upstream"] for _ in range(3)]
    assert upstreams == ["bedrock"] * 3
    assert vendors.counts() == (1, 3, 0)


def test_a_queued_job_is_generated_from_an_image_and_its_filtered_image_is_dropped(
    client: requests.Session, stack: Stack, vendors: Vendors
) -> None:
    vendors.stability.filter(4)
    image = base64.encodebytes(phone_photo((200, 100), kind="jpeg", orientation=6)).decode()
    queued = generate(
        client, stack, num_images=16, seed=1, init_image=image, strength=0.5, queued=True
    )
    job = wait_for(lambda: succeeded(client, stack, queued.json()["id"]), what="end of the job")
    assert (job["status"], job["cost_usd"]) == ("succeeded", 16 * 0.065)
    removed = [image["seed"] for image in job["images"] if image["removed_for_safety"]]
    assert (removed, len(vendors.stability.calls)) == ([4], 16)
    assert {call.fields["mode"] for call in vendors.stability.calls} == {"image-to-image"}
    (sent,) = {call.image for call in vendors.stability.calls}
    upright = Image.open(BytesIO(sent or b""))
    assert upright.getpixel((1015, 9)) == pytest.approx(RED, abs=4)
    assert upright.getpixel((9, 1015)) == pytest.approx(BLUE, abs=4)
    assert SECRET.encode() not in (sent or b"")
    # The size follows the init image, so that it is sent in the requested size.
    assert {(image["width"], image["height"]) for image in job["images"] if image["url"]} == {
        (1024, 1024)
    }


def test_bedrock_may_be_invoked_because_it_was_chosen(
    stack: Stack, deployed: tuple[VendorServer, ...]
) -> None:
    iam = stack.deployed.client("iam")
    role = stack.deployed.resource("WorkerFunctionRole")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name) for name in names]
    allowed = json.dumps([each["PolicyDocument"] for each in documents], default=str)
    assert "foundation-model/stability.sd3-5-large-v1:0" in allowed
