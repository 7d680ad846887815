"""sd3_client.verify_webhook: what the library of Standard Webhooks signs, and nothing else."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from sd3_client import WebhookError, verify_webhook

SECRET, OLD = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
BODY = b'{"type":"job.succeeded","data":{"id":"j1"}}'


def headers(*secrets: str, minutes: float = 0, message_id: str = "msg_1") -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    signatures = [Webhook(secret).sign(message_id, at, BODY.decode()) for secret in secrets]
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }


@pytest.mark.parametrize(
    ("signed", "known"),
    [((SECRET,), (SECRET,)), ((OLD, SECRET), (SECRET,)), ((SECRET,), (OLD, SECRET))],
)
def test_a_message_is_read_before_while_and_after_the_secret_is_replaced(
    signed: tuple[str, ...], known: tuple[str, ...]
) -> None:
    assert verify_webhook(BODY, headers(*signed), *known)["data"] == {"id": "j1"}


@pytest.mark.parametrize(
    "change",
    [
        {"Webhook-Id": "msg_2"},
        {"Webhook-Timestamp": "now"},
        {"Webhook-Timestamp": "9" * 5000},
        {"Webhook-Signature": "v1"},
        {"Webhook-Signature": "v1,é"},
    ],
)
def test_a_message_that_was_changed_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WebhookError):
        verify_webhook(BODY, headers(SECRET) | change, SECRET)


def test_a_message_that_nobody_has_signed_just_now_is_refused() -> None:
    # Signed here, since what is signed at the import is old when a long run comes to it.
    good = headers(SECRET)
    later = str(int(good["Webhook-Timestamp"]) + 1)
    for forged in (
        {},
        headers(OLD),
        headers(SECRET, minutes=6),
        headers(SECRET, minutes=-6),
        good | {"Webhook-Timestamp": later},
        good | {"Webhook-Signature": good["Webhook-Signature"].replace("v1,", "v1a,")},
    ):
        with pytest.raises(WebhookError):
            verify_webhook(BODY, forged, SECRET)
    with pytest.raises(WebhookError):
        verify_webhook(BODY + b" ", good, SECRET)
