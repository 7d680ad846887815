"""The use cases of clients on webhooks: the endpoint, its secret, and the log of deliveries."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from sd3.domain.client_url import UrlError, UrlPolicy, check_policy, read_url
from sd3.domain.delivery import Delivery, DeliveryKey, message_id_of
from sd3.domain.webhook import Webhook, WebhookEvent, WebhookRequest, secret_of
from sd3.domain.webhook_request import DeliveriesQuery, ReplayRequest, RotateRequest
from sd3.errors import (
    ChangedError,
    DeliveryPendingError,
    FieldError,
    InvalidRequestError,
    NotFoundError,
    StorageBusyError,
    StorageError,
)
from sd3.responses.webhooks import (
    DeliveryListResponse,
    DeliveryResponse,
    ReplayResponse,
    WebhookResponse,
    WebhookSecretResponse,
    delivery_response,
    webhook_response,
)
from sd3.services.ports import Clock, DeliveryQueue, WebhookRepository

_TRIES: Final = 5

_PAGE: Final = 100


@dataclass(frozen=True, kw_only=True)
class WebhookService:
    """The operations of clients on their webhooks."""

    webhooks: WebhookRepository
    queue: DeliveryQueue
    secrets: Callable[[], Sequence[bytes]]
    clock: Clock
    policy: UrlPolicy

    def get(self, client_id: str) -> WebhookResponse:
        """Read the client's endpoint. Raises NotFoundError and StorageError."""
        return webhook_response(self._endpoint(client_id))

    def set(self, client_id: str, request: WebhookRequest) -> WebhookResponse:
        """Set the client's endpoint, which enables it.

        Raises InvalidRequestError for a URL that this deployment does not call, and StorageError.
        """
        try:
            check_policy(read_url(request.url), self.policy)
        except UrlError as error:
            raise InvalidRequestError([FieldError(("body", "url"), str(error), "url")]) from error
        return webhook_response(
            self._change(client_id, lambda webhook: webhook.set(request.url, request.events))
        )

    def remove(self, client_id: str) -> None:
        """Remove the client's endpoint. What waits for it is canceled. Raises StorageError."""
        self._change(client_id, Webhook.remove)

    def get_secret(self, client_id: str) -> WebhookSecretResponse:
        """Derive the client's secret. Raises StorageError."""
        return self._secret(self.webhooks.settings(client_id))

    def rotate_secret(self, client_id: str, request: RotateRequest) -> WebhookSecretResponse:
        """Replace the client's secret, and sign with the old one too for a while."""
        keep_old = timedelta(seconds=request.keep_old_seconds)
        now = self.clock.now()
        changed = self._change(client_id, lambda one: one.rotate(now=now, keep_old=keep_old))
        return self._secret(changed)

    def list_deliveries(self, client_id: str, query: DeliveriesQuery) -> DeliveryListResponse:
        """Read a page of the client's deliveries, newest first. Raises StorageError."""
        found, cursor = self.webhooks.deliveries(
            client_id, status=query.status, cursor=query.cursor, limit=query.limit
        )
        return DeliveryListResponse(
            deliveries=[delivery_response(one) for one in found], next_cursor=cursor
        )

    def get_delivery(self, client_id: str, delivery_id: str) -> DeliveryResponse:
        """Read a delivery of the client. Raises NotFoundError and StorageError."""
        return delivery_response(self.webhooks.get_delivery(client_id, delivery_id))

    def replay(self, client_id: str, delivery_id: str) -> DeliveryResponse:
        """Send a message once more, under its id, unless an attempt is to come.

        Raises NotFoundError, DeliveryPendingError and StorageError.
        """
        delivery = self.webhooks.get_delivery(client_id, delivery_id)
        if delivery.is_under_way(now=self.clock.now()):
            raise DeliveryPendingError("The delivery has not ended yet.")
        try:
            return delivery_response(self._send_again(delivery))
        except ChangedError as error:
            raise DeliveryPendingError("The delivery was begun again meanwhile.") from error

    def replay_all(self, client_id: str, request: ReplayRequest) -> ReplayResponse:
        """Send the messages of a time once more, a page of them in each call.

        Those that are under way, or that another call begins again, are left to it. Raises
        StorageError.
        """
        now = self.clock.now()
        found, cursor = self.webhooks.deliveries(
            client_id,
            status=request.status,
            cursor=request.cursor,
            since=_time_in_id(request.since),
            until=_time_in_id(request.until or now),
            limit=_PAGE,
        )
        replayed = 0
        for delivery in found:
            if not delivery.is_under_way(now=now):
                with suppress(ChangedError):
                    self._send_again(delivery)
                    replayed += 1
        return ReplayResponse(replayed=replayed, next_cursor=cursor)

    def test(self, client_id: str) -> DeliveryResponse:
        """Send a test to the client's endpoint. Raises NotFoundError and StorageError."""
        self._endpoint(client_id)
        now = self.clock.now()
        message_id = message_id_of(now, token_hex(16))
        delivery = Delivery.of(DeliveryKey(client_id, message_id, WebhookEvent.TEST, now))
        delivery = delivery.model_copy(update={"next_at": now})
        return delivery_response(self._send(delivery))

    def _send_again(self, delivery: Delivery) -> Delivery:
        return self._send(delivery.replay(now=self.clock.now()))

    def _send(self, delivery: Delivery) -> Delivery:
        # Written before it is sent: the reader of the message would take it for done. If it is
        # not sent then, it is late after an hour, and a replay sends it.
        stored = self.webhooks.save_delivery(delivery)
        self.queue.send(stored.key)
        return stored

    def _endpoint(self, client_id: str) -> Webhook:
        settings = self.webhooks.settings(client_id)
        if settings.url is None:
            raise NotFoundError("No webhook is set: PUT /webhook sets one.")
        return settings

    def _secret(self, settings: Webhook) -> WebhookSecretResponse:
        masters = self.secrets()
        if not masters:
            raise StorageError("There is no master secret.")
        is_rotating = len(settings.secret_versions(now=self.clock.now())) > 1
        return WebhookSecretResponse(
            secret=secret_of(masters[0], settings.client_id, settings.secret_version),
            old_secret_until=settings.old_until if is_rotating else None,
        )

    def _change(self, client_id: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        for _ in range(_TRIES):
            try:
                return self.webhooks.save_settings(change(self.webhooks.settings(client_id)))
            except ChangedError:
                continue
        raise StorageBusyError("The webhook could not be changed: it changes too fast.")


def _time_in_id(time: datetime) -> str:
    """Return what the ids of messages of a millisecond begin with."""
    return message_id_of(time, "")[: -len("0123456789abcdef")]
