"""The use case of deliveries: tell clients' webhooks of the ends of jobs, until they have heard."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from sd3.domain.client_url import UrlError, read_url
from sd3.domain.delivery import (
    MAX_GIVEN_UP,
    Delivery,
    DeliveryAttempt,
    DeliveryKey,
    DeliveryStatus,
    own_webhook,
)
from sd3.domain.image import Link
from sd3.domain.job import Job
from sd3.domain.webhook import Webhook, secret_of, signature
from sd3.errors import ChangedError, GoneError, NotFoundError, StorageError
from sd3.responses.webhooks import WebhookDisabledEvent, webhook_body
from sd3.services.ports import (
    Clock,
    ImageStorage,
    JobRepository,
    Metrics,
    WebhookEvents,
    WebhookReceiver,
    WebhookRepository,
)

_logger = logging.getLogger(__name__)

_TRIES: Final = 3

_EARLY_SECONDS: Final = 2
"""A message that comes so much too early is on time: SQS counts whole seconds."""

_MAX_SLOT_WAIT: Final = 300


class Target(NamedTuple):
    """Where a message goes, and its body."""

    url: str
    host: str
    body: bytes


class _NoTargetError(Exception):
    """There is nobody to send to, or nothing to send; the text says why.

    Without a job, a message may be of a client who was erased. Then no log of it is begun.
    """

    def __init__(self, reason: str, *, is_of_nobody: bool) -> None:
        super().__init__(reason)
        self.is_of_nobody = is_of_nobody


@dataclass(frozen=True, kw_only=True)
class WebhookDeliveries:
    """Makes the attempts at deliveries."""

    webhooks: WebhookRepository
    jobs: JobRepository
    images: ImageStorage
    receiver: WebhookReceiver
    secrets: Callable[[], Sequence[bytes]]
    events: WebhookEvents
    clock: Clock
    metrics: Metrics

    def note_wait(self, key: DeliveryKey, *, sent_at: datetime) -> None:
        """Measure how late a message is that was received for the first time, or not worked on.

        Receivers that fail, or are busy, have no part in either.
        """
        self._count("WebhookWaitMs", key, 1000 * (self.clock.now() - sent_at).total_seconds())

    def attempt(self, key: DeliveryKey, *, receives: int) -> int | None:
        """Make the next attempt at a delivery, if it is time for one.

        `receives` counts how often the message was received. Returns None when nothing is left to
        do, else the seconds until the message is to be received again. Raises StorageError.
        """
        delivery = self.webhooks.find_delivery(key.client_id, key.id) or Delivery.of(key)
        if delivery.status is not DeliveryStatus.PENDING:
            return None
        now = self.clock.now()
        if delivery.next_at and (wait := (delivery.next_at - now).total_seconds()) > _EARLY_SECONDS:
            return int(wait) + 1
        settings = self.webhooks.settings(key.client_id)
        try:
            target = self._target(delivery, settings, now=now)
        except _NoTargetError as error:
            if delivery.version or not error.is_of_nobody:
                self._save(delivery.cancel(str(error)))
            return None
        slot = self.webhooks.take_slot(target.host)
        if slot is None:
            return self._slot_wait(receives)
        try:
            tried = self._post(delivery.model_copy(update={"host": target.host}), target, settings)
        finally:
            with suppress(StorageError):  # then it is free when its lease ends
                self.webhooks.free_slot(target.host, slot)
        return self._save(tried)

    def _target(self, delivery: Delivery, settings: Webhook, *, now: datetime) -> Target:
        job = self._job(delivery, now=now)
        if delivery.is_own:
            own = own_webhook(job) if job else None
            url = own.url if own else None
        else:
            url = settings.url if settings.is_enabled else None
        if url is None:
            reason = "the webhook was removed or disabled"
            raise _NoTargetError(reason, is_of_nobody=job is None)
        if job and delivery.type != f"job.{job.status}":
            raise _NoTargetError("the job was begun again", is_of_nobody=False)
        body = webhook_body(delivery, job, self._sign)
        return Target(url, _host_of(url), body)

    def _job(self, delivery: Delivery, *, now: datetime) -> Job | None:
        if delivery.job_id is None:
            return None
        try:
            return self.jobs.get(delivery.job_id, client_id=delivery.client_id, now=now)
        except (GoneError, NotFoundError) as error:
            reason = "the job was deleted or has expired"
            raise _NoTargetError(reason, is_of_nobody=True) from error

    def _post(self, delivery: Delivery, target: Target, settings: Webhook) -> Delivery:
        at = self.clock.now()
        headers = self._headers(delivery, target.body, settings, at=at)
        reply = self.receiver.post(target.url, headers, target.body)
        attempt = DeliveryAttempt(at=at, status=reply.status, error=reply.error, ms=reply.ms)
        if reply.has_arrived:
            self._count("WebhookDelivered", delivery)
            age = (self.clock.now() - delivery.created_at).total_seconds()
            self._count("WebhookDelayMs", delivery, 1000 * age)
            self._note_arrival(delivery, settings)
            return delivery.arrive(attempt)
        self._count("WebhookFailed", delivery)
        if reply.status == HTTPStatus.GONE:
            tried = delivery.give_up(attempt, reason="the receiver answered 410")
        else:
            jitter = self.clock.jitter()
            tried = delivery.miss(attempt, jitter=jitter, retry_after=reply.retry_after)
        if tried.status is DeliveryStatus.FAILED:
            self._note_given_up(tried, settings.url, is_gone=reply.status == HTTPStatus.GONE)
        return tried

    def _headers(
        self, delivery: Delivery, body: bytes, settings: Webhook, *, at: datetime
    ) -> Mapping[str, str]:
        masters, seconds = self.secrets(), int(at.timestamp())
        if not masters:
            raise StorageError("There is no master secret.")
        secrets = [
            secret_of(master, delivery.client_id, version)
            for master in masters
            for version in settings.secret_versions(now=at)
        ]
        return {
            "Content-Type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(
                signature(secret, delivery.id, seconds, body) for secret in secrets
            ),
        }

    def _save(self, delivery: Delivery) -> int | None:
        """Write what became of an attempt; return the seconds until the next one.

        If another message of the same delivery has written meanwhile, that counts, and this message
        comes again to look.
        """
        try:
            self.webhooks.save_delivery(delivery)
        except ChangedError:
            return _EARLY_SECONDS
        if delivery.next_at is None:
            return None
        return max(int((delivery.next_at - self.clock.now()).total_seconds()), 0) + 1

    def _slot_wait(self, receives: int) -> int:
        return min(1 + int(2 * receives * (0.5 + self.clock.jitter())), _MAX_SLOT_WAIT)

    def _note_arrival(self, delivery: Delivery, settings: Webhook) -> None:
        """Forget the deliveries that were given up before this one."""
        if settings.given_up and not delivery.is_own:
            # If this fails, the next delivery that arrives does it.
            with suppress(ChangedError, StorageError):
                self.webhooks.save_settings(settings.model_copy(update={"given_up": 0}))

    def _note_given_up(self, delivery: Delivery, url: str | None, *, is_gone: bool) -> None:
        """Count a delivery that the endpoint with a URL did not take, and disable it after many.

        The event goes out first: if the write fails, the next attempt sends both once more.
        """
        self._count("WebhookGivenUp", delivery)
        if delivery.is_own:
            return
        for _ in range(_TRIES):
            settings = self.webhooks.settings(delivery.client_id)
            if not settings.is_enabled or settings.url != url:
                return
            given_up = settings.given_up + 1
            changed = settings.model_copy(update={"given_up": given_up})
            reason = "the receiver answered 410" if is_gone else "no message arrived"
            if is_gone or given_up >= MAX_GIVEN_UP:
                changed = changed.disable(reason, now=self.clock.now())
                self._tell_disabled(changed)
            with suppress(ChangedError):
                self.webhooks.save_settings(changed)
                return

    def _tell_disabled(self, settings: Webhook) -> None:
        event = WebhookDisabledEvent(
            client_id=settings.client_id,
            disabled_at=settings.disabled_at or self.clock.now(),
            reason=settings.disabled_reason or "",
        )
        self.events.put_webhook_disabled(event.model_dump_json())
        _logger.warning("webhook disabled", extra={"client_id": settings.client_id})

    def _count(self, name: str, delivery: Delivery | DeliveryKey, value: float = 1) -> None:
        self.metrics.add(
            name, value, client_id=delivery.client_id, job_id=delivery.job_id or delivery.id
        )

    def _sign(self, key: str, until: datetime) -> Link:
        return self.images.sign(key, until=until, now=self.clock.now())


def _host_of(url: str) -> str:
    """Return the host by which slots are shared; of a URL that is not called, that is none."""
    with suppress(UrlError):
        return read_url(url).host
    return ""
