"""A delivery: one message to a client's webhook, from its first attempt to its end."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Self

from sd3.domain.job import Job
from sd3.domain.record import Record
from sd3.domain.webhook import WebhookEvent, WebhookRequest, stored_request

DELAYS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 43_000, 43_000, 43_000, 43_000)
)
"""The waits after a failed attempt: ten of them, 65 hours together. SQS hides a message for 12
hours at most."""

KEEP: Final = timedelta(days=30)
"""How long a delivery stays in the log."""

MAX_GIVEN_UP: Final = 20
"""The deliveries in a row that may be given up before an endpoint is disabled."""

LOST_AFTER: Final = timedelta(hours=1)
"""A delivery whose next attempt is late by this has lost its message, and may be sent anew. One
more message than it needs is harmless."""

MESSAGE_ID: Final = re.compile("msg_[0-9a-z]{26}")

_MAX_ATTEMPTS_LOGGED: Final = 12

_ID: Final = "msg_"


class DeliveryStatus(StrEnum):
    """The states of a delivery; all but the first are ends."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


class DeliveryAttempt(Record):
    """One POST: when, and the status of its response or else what went wrong."""

    at: datetime
    status: int | None = None
    error: str | None = None
    ms: int

    @property
    def ended_at(self) -> datetime:
        """When it was known what became of it: after a while, if the receiver hung."""
        return self.at + timedelta(milliseconds=self.ms)


class WebhookReply(NamedTuple):
    """What became of a POST to a receiver: the status of its response, or what went wrong."""

    status: int | None
    error: str | None
    ms: int
    retry_after: float | None = None
    """The seconds for which the receiver asks to wait."""

    @property
    def has_arrived(self) -> bool:
        """Whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300


class DeliveryKey(NamedTuple):
    """What a message in the queue says: which delivery, and of what. It has no URL."""

    client_id: str
    id: str
    type: WebhookEvent
    created_at: datetime
    job_id: str | None = None
    is_own: bool = False
    """Whether the job's request names the webhook, and not the client's settings."""


class Delivery(Record):
    """One message and its attempts. Times are UTC; `created_at` is when the event happened.

    Two messages in the queue can be of one delivery. The one that comes before `next_at` waits, so
    both together make no more attempts than one.
    """

    client_id: str
    id: str
    type: WebhookEvent
    created_at: datetime
    job_id: str | None = None
    is_own: bool = False
    host: str | None = None
    status: DeliveryStatus = DeliveryStatus.PENDING
    reason: str | None = None
    failures: int = 0
    next_at: datetime | None = None
    attempts: tuple[DeliveryAttempt, ...] = ()
    version: int = 0

    @classmethod
    def of(cls, key: DeliveryKey) -> Self:
        """Begin the delivery that a message of the queue names."""
        return cls(**key._asdict())

    def arrive(self, attempt: DeliveryAttempt) -> Self:
        """Note an attempt that the receiver took."""
        return self._with(attempt, status=DeliveryStatus.DELIVERED, next_at=None, reason=None)

    def miss(self, attempt: DeliveryAttempt, *, jitter: float, retry_after: float | None) -> Self:
        """Note a failed attempt, and when the next one is: none after the last delay.

        `jitter` is from 0 to 1. A receiver can ask for a longer wait, up to the longest delay.
        """
        if self.failures >= len(DELAYS):
            return self.give_up(attempt, reason="no attempt succeeded")
        wait = DELAYS[self.failures].total_seconds() * (0.8 + 0.4 * jitter)
        longest = max(DELAYS).total_seconds()
        seconds = min(max(wait, retry_after or 0.0), longest)
        next_at = attempt.ended_at + timedelta(seconds=seconds)
        return self._with(attempt, failures=self.failures + 1, next_at=next_at)

    def give_up(self, attempt: DeliveryAttempt, *, reason: str) -> Self:
        """End after a failed attempt."""
        return self._with(attempt, status=DeliveryStatus.FAILED, next_at=None, reason=reason)

    def cancel(self, reason: str) -> Self:
        """End without an attempt: there is nobody to send to, or nothing to send."""
        return self.model_copy(
            update={"status": DeliveryStatus.CANCELED, "next_at": None, "reason": reason}
        )

    def is_under_way(self, *, now: datetime) -> bool:
        """Return whether an attempt is to come, so that it cannot begin again."""
        is_late = self.next_at is not None and now >= self.next_at + LOST_AFTER
        return self.status is DeliveryStatus.PENDING and not is_late

    def replay(self, *, now: datetime) -> Self:
        """Begin again, with the attempts so far in the log."""
        changes = {"status": DeliveryStatus.PENDING, "failures": 0, "next_at": now, "reason": None}
        return self.model_copy(update=changes)

    @property
    def key(self) -> DeliveryKey:
        """Return what the queue's message says."""
        return DeliveryKey(
            self.client_id, self.id, self.type, self.created_at, self.job_id, self.is_own
        )

    def _with(self, attempt: DeliveryAttempt, **changes: object) -> Self:
        attempts = (*self.attempts, attempt)[-_MAX_ATTEMPTS_LOGGED:]
        return self.model_copy(update={"attempts": attempts, **changes})


def own_webhook(job: Job) -> WebhookRequest | None:
    """Return the webhook that a job's request names; None if this version cannot read it."""
    webhook: object = job.request.webhook
    if isinstance(webhook, dict):  # of a request that this version does not accept as a whole
        return stored_request(webhook)
    return webhook if isinstance(webhook, WebhookRequest) else None


def event_of(job: Job) -> WebhookEvent:
    """Return the event of a job's end."""
    return WebhookEvent(f"job.{job.status}")


def delivery_of(job: Job, *, is_own: bool) -> DeliveryKey:
    """Return the delivery of a job's end; the same one whenever the end is told."""
    ended_at = job.completed_at or job.created_at
    source = f"{job.client_id}|{job.id}|{ended_at.isoformat()}|{is_own}"
    message_id = message_id_of(ended_at, source)
    return DeliveryKey(job.client_id, message_id, event_of(job), ended_at, job.id, is_own)


def message_id_of(at: datetime, source: str) -> str:
    """Make the id of a message: ids of later times sort later, and one source has one id."""
    milliseconds = int(at.timestamp() * 1000)
    random = hashlib.sha256(source.encode()).digest()[:10]
    # Crockford's alphabet, as of ULIDs: unlike that of RFC 4648, its order is that of the bytes.
    return _ID + _base32(milliseconds.to_bytes(10, "big"))[-10:] + _base32(random)


_TO_ORDERED: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz"
)


def _base32(data: bytes) -> str:
    return base64.b32encode(data).translate(_TO_ORDERED).decode()
