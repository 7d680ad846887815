"""Webhooks: their signatures, their secrets and what clients send about them."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from sd3.domain.request import GenerateRequest
from sd3.domain.webhook import JOB_EVENTS, Webhook, WebhookRequest, secret_of, signature
from sd3.errors import InvalidRequestError
from tests.support.fakes.ports import NOON

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_that_of_the_standards_own_example() -> None:
    body = b'{"test": 2432232314}'
    signed = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_client_has_a_secret_of_its_own_for_each_version() -> None:
    named = [("ann", 1), ("ann", 2), ("bob", 1), ("bob", 2)]
    assert len({secret_of(b"m" * 64, client, version) for client, version in named}) == 4


def test_both_secrets_sign_until_the_old_one_ends() -> None:
    webhook = Webhook(client_id="ann").rotate(now=NOON, keep_old=timedelta(hours=1))
    assert webhook.secret_versions(now=NOON + timedelta(minutes=59)) == (2, 1)
    assert webhook.secret_versions(now=NOON + timedelta(hours=1)) == (2,)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "http://hooks.example/x"}, "url"),
        ({"url": "ftp://hooks.example/x"}, "url"),
        ({"url": "https://user:pass@hooks.example/x"}, "url"),
        ({"url": "https://hooks.example/x#part"}, "url"),
        ({"url": "https://hooks.example:22/x"}, "url"),
        ({"url": "https://hooks.example:70000/x"}, "url"),
        ({"url": "https://hööks.example/x"}, "url"),
        ({"url": "https://hooks.example/" + "x" * 2027}, "url"),
        ({"url": "https://10.0.0.1/x"}, "url"),
        ({"url": "https://[::1]/x"}, "url"),
        ({"url": "https://0x7f000001/x"}, "url"),
        ({"url": "https://hooks.example/x", "events": []}, "events"),
        ({"url": "https://hooks.example/x", "events": ["job.started"]}, "events"),
        ({"url": "https://hooks.example/x", "events": ["webhook.test"]}, "events"),
        ({"url": "https://hooks.example/x", "events": ["job.failed", "job.failed"]}, "events"),
        ({"url": "https://hooks.example/x", "secret": "mine"}, "secret"),
        ({}, "url"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_refused_at_its_field(
    values: dict[str, object], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookRequest.model_validate(values)
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@pytest.mark.parametrize("event", ["job.started", "webhook.test", 7, ["job.failed"]])
def test_an_event_that_cannot_be_asked_for_is_told_those_that_can(event: object) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookRequest.model_validate({"url": "https://hooks.example/x", "events": [event]})
    [error] = caught.value.errors()
    assert error["loc"] == ("events", 0)
    assert error["msg"] == "Input should be 'job.succeeded', 'job.failed' or 'job.canceled'"


def test_a_webhook_is_told_all_ends_by_default() -> None:
    assert WebhookRequest(url="https://hooks.example:8443/x?key=1").events == JOB_EVENTS


def test_a_dry_run_has_no_webhook() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        GenerateRequest.from_values(
            {"prompt": "a fox", "dry_run": True, "webhook": {"url": "https://hooks.example"}}
        )
    assert [error.loc for error in caught.value.field_errors] == [("body", "webhook")]
