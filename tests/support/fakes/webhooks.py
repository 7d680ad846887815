"""Stand-ins for what webhooks need: the table, the queue, the master key, the bus and receivers."""

from collections import Counter
from collections.abc import Callable, Mapping

from sd3.domain.delivery import Delivery, DeliveryKey, DeliveryStatus, WebhookReply
from sd3.domain.webhook import Webhook
from sd3.errors import ChangedError, NotFoundError, StorageError

OK = WebhookReply(204, None, 12)


class FakeWebhooks:
    """The webhooks table as dicts; `slots` are those of each host."""

    def __init__(self, *, slots: int = 2) -> None:
        self.clients: dict[str, Webhook] = {}
        self.log: dict[tuple[str, str], Delivery] = {}
        self.taken: Counter[str] = Counter()
        self.slots = slots

    def settings(self, client_id: str) -> Webhook:
        return self.clients.get(client_id, Webhook(client_id=client_id))

    def save_settings(self, settings: Webhook) -> Webhook:
        if settings.version != self.settings(settings.client_id).version:
            raise ChangedError("changed")
        stored = settings.model_copy(update={"version": settings.version + 1})
        self.clients[settings.client_id] = stored
        return stored

    def find_delivery(self, client_id: str, delivery_id: str) -> Delivery | None:
        return self.log.get((client_id, delivery_id))

    def get_delivery(self, client_id: str, delivery_id: str) -> Delivery:
        if found := self.find_delivery(client_id, delivery_id):
            return found
        raise NotFoundError("There is no such delivery.")

    def save_delivery(self, delivery: Delivery) -> Delivery:
        key = (delivery.client_id, delivery.id)
        if key in self.log and self.log[key].version != delivery.version:
            raise ChangedError("changed")
        self.log[key] = delivery.model_copy(update={"version": delivery.version + 1})
        return self.log[key]

    def deliveries(
        self,
        client_id: str,
        *,
        status: DeliveryStatus | None,
        cursor: str | None,
        since: str = "",
        until: str = "",
        limit: int,
    ) -> tuple[list[Delivery], str | None]:
        own = [
            one
            for (client, message_id), one in sorted(self.log.items(), reverse=True)
            if client == client_id
            and (cursor is None or message_id < cursor)
            and since <= message_id <= until + "~"
        ]
        page = own[:limit]
        next_cursor = page[-1].id if len(own) > limit else None
        return [one for one in page if status in {None, one.status}], next_cursor

    def take_slot(self, host: str) -> int | None:
        if self.taken[host] >= self.slots:
            return None
        self.taken[host] += 1
        return 0

    def free_slot(self, host: str, slot: int) -> None:
        self.taken[host] -= 1


class FakeDeliveryQueue:
    """The keys that were sent; a queue that is `broken` takes none."""

    def __init__(self) -> None:
        self.sent: list[DeliveryKey] = []
        self.broken = False

    def send(self, key: DeliveryKey) -> None:
        if self.broken:
            raise StorageError("The message could not be queued.")
        self.sent.append(key)


MASTER = b"m" * 64


class FakeWebhookEvents:
    """The events of disabled webhooks; a bus that is `broken` takes none."""

    def __init__(self) -> None:
        self.put: list[str] = []
        self.broken = False

    def put_webhook_disabled(self, detail: str) -> None:
        if self.broken:
            raise StorageError("The event could not be put.")
        self.put.append(detail)


class FakeReceiver:
    """A receiver that answers with the next reply, and then always with the last one."""

    def __init__(self, *replies: WebhookReply, during: Callable[[], object] = lambda: None) -> None:
        self.replies = list(replies or (OK,))
        self.posts: list[tuple[str, Mapping[str, str], bytes]] = []
        self._during = during

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        self.posts.append((url, headers, body))
        self._during()
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
