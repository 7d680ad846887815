"""The receiver of make demo takes what is signed with the client's secret, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import requests
from standardwebhooks import Webhook

from local.webhook_receiver import WebhookReceiver

SECRET: Final = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER: Final = SECRET.replace("MDEy", "AAAA")
BODY: Final = json.dumps({"type": "job.succeeded", "data": {"id": "job-1"}})


@pytest.mark.parametrize(
    ("secret", "age", "body", "status"),
    [
        (SECRET, 0, BODY, 204),
        (OTHER, 0, BODY, 400),
        (SECRET, 600, BODY, 400),
        (SECRET, 0, BODY.replace("job-1", "job-2"), 400),
    ],
    ids=["signed", "another secret", "old", "changed"],
)
def test_a_message_is_kept_if_its_signature_fits(
    secret: str, age: int, body: str, status: int
) -> None:
    sent = datetime.now(UTC) - timedelta(seconds=age)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", sent, BODY),
    }
    with WebhookReceiver(SECRET) as receiver:
        assert receiver.message_of("job-1") is None
        response = requests.post(receiver.url, body, headers=headers, timeout=60)
        assert response.status_code == status
        assert (receiver.message_of("job-1") is not None) == (status == 204)
    assert receiver.message_of("job-2") is None
