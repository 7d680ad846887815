"""The messages of webhooks: how long they may be."""

import json

import pytest

from sd3.domain.delivery import Delivery, delivery_of
from sd3.domain.image import Link
from sd3.domain.job import JobStatus
from sd3.responses.webhooks import MAX_MESSAGE_BYTES, webhook_body
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON

SIGNED = "https://images.s3.eu-central-1.amazonaws.com/x?" + "x" * 1200
"""About as long as a link of a function's role, whose credentials have a session token."""


@pytest.mark.parametrize(("count", "has_links"), [(4, True), (16, False)])
def test_a_message_that_would_be_too_long_has_no_links(count: int, *, has_links: bool) -> None:
    images = [
        {"index": index, "seed": 1, "key": f"ann/j/{index}.jpg", "sha256": "0" * 64}
        for index in range(count)
    ]
    ended = job(status=JobStatus.SUCCEEDED, completed_at=NOON, images=images)
    delivery = Delivery.of(delivery_of(ended, is_own=False))
    body = webhook_body(delivery, ended, lambda _key, until: Link(SIGNED, until))
    assert len(body) <= MAX_MESSAGE_BYTES
    shown = json.loads(body)["data"]["images"]
    assert [bool(one["url"]) for one in shown] == [has_links] * count
