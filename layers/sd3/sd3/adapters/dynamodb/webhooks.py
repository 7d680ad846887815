"""The webhooks table: each client's settings and deliveries, and the slots of receivers' hosts."""

import hashlib
import random
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError
from pydantic import ValidationError

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import from_item, to_item
from sd3.domain.delivery import KEEP, MESSAGE_ID, Delivery, DeliveryStatus
from sd3.domain.webhook import Webhook
from sd3.errors import ChangedError, NotFoundError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PROBES: Final = 4
"""How many of a host's slots are tried. Each try is a write."""

_SLOT_LEASE: Final = timedelta(seconds=40)
"""How long a slot stays taken if the function that took it dies: longer than an attempt."""

_SETTINGS: Final = "webhook"
_DELIVERY: Final = "delivery#"
_FAILED: Final = "The webhooks table could not be used."

Stored = TypeVar("Stored", Webhook, Delivery)


class WebhookStore:
    """Settings and deliveries as documents. Each write needs the version that was read."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        host_slots: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`host_slots` are the attempts at one host at the same time, of all clients together."""
        self._client, self._table, self._clock = client, table, clock
        self._host_slots = host_slots

    def settings(self, client_id: str) -> Webhook:
        """Read a client's settings as they are now; the defaults if it has none."""
        found = self._get(client_id, _SETTINGS)
        return _read(Webhook, found) if found else Webhook(client_id=client_id)

    def save_settings(self, settings: Webhook) -> Webhook:
        """Write a client's settings. Raises ChangedError and StorageError."""
        return self._save(settings, _SETTINGS)

    def find_delivery(self, client_id: str, delivery_id: str) -> Delivery | None:
        """Read a delivery as it is now. Raises StorageError."""
        found = self._get(client_id, _DELIVERY + delivery_id)
        return _read(Delivery, found) if found else None

    def get_delivery(self, client_id: str, delivery_id: str) -> Delivery:
        """Read a delivery. Raises NotFoundError and StorageError."""
        is_id = MESSAGE_ID.fullmatch(delivery_id)  # DynamoDB refuses a longer key as an error
        found = self.find_delivery(client_id, delivery_id) if is_id else None
        if found is None:
            raise NotFoundError("There is no such delivery.")
        return found

    def save_delivery(self, delivery: Delivery) -> Delivery:
        """Write a delivery, which stays for 30 days. Raises ChangedError and StorageError."""
        return self._save(
            delivery,
            _DELIVERY + delivery.id,
            status=delivery.status,
            ttl=epoch_seconds(delivery.created_at + KEEP),
        )

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
        """Read deliveries, newest first; `since` and `until` are what their ids begin with.

        Returns a page of at most `limit`, and the cursor of the next one. A page of one status can
        be short: as many items are read as a page may have. Raises StorageError.
        """
        first, last = _DELIVERY + since, _DELIVERY + until + "~"
        after = _DELIVERY + cursor if cursor else last
        if first >= min(after, last):
            return [], None  # DynamoDB takes no range without an item, and no start outside of one
        query: dict[str, Any] = {
            "KeyConditionExpression": "client_id = :client AND #item BETWEEN :from AND :to",
            "ExpressionAttributeNames": {"#item": "item"},
            "ExpressionAttributeValues": {
                ":client": client_id,
                ":from": first,
                ":to": last,
            },
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if status:
            query["FilterExpression"] = "#status = :status"
            query["ExpressionAttributeNames"]["#status"] = "status"
            query["ExpressionAttributeValues"][":status"] = status
        if after < last:
            query["ExclusiveStartKey"] = to_item({"client_id": client_id, "item": after})
        query["ExpressionAttributeValues"] = to_item(query["ExpressionAttributeValues"])
        with storage_errors(_FAILED):
            reply = self._client.query(TableName=self._table, **query)
        found = [_read(Delivery, from_item(item)) for item in reply["Items"]]
        read = reply.get("LastEvaluatedKey")
        return found, from_item(read)["item"].removeprefix(_DELIVERY) if read else None

    def take_slot(self, host: str) -> int | None:
        """Take one of a host's slots; None while it is busy. Raises StorageError."""
        now = int(self._clock())
        until = now + int(_SLOT_LEASE.total_seconds())
        for slot in random.sample(range(self._host_slots), min(self._host_slots, _PROBES)):
            try:
                self._update_slot(
                    host,
                    slot,
                    until,
                    ConditionExpression="attribute_not_exists(#slot) OR #slot < :now",
                    now=now,
                )
            except ChangedError:
                continue
            return slot
        return None

    def free_slot(self, host: str, slot: int) -> None:
        """Give a slot back. Raises StorageError."""
        self._update_slot(host, slot, 0)

    def _update_slot(
        self, host: str, slot: int, until: int, *, now: int | None = None, **condition: Any
    ) -> None:
        digest = hashlib.sha256(host.encode()).hexdigest()[:32]
        values = {":until": until, ":ttl": int(self._clock()) + 3600}
        if now is not None:
            values[":now"] = now
        with storage_errors(_FAILED, instead=_CHANGED):
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"client_id": f"_host#{digest}", "item": "slots"}),
                UpdateExpression="SET #slot = :until, #ttl = :ttl",
                ExpressionAttributeNames={"#slot": f"slot{slot}", "#ttl": "ttl"},
                ExpressionAttributeValues=to_item(values),
                **condition,
            )

    def _get(self, client_id: str, item: str) -> Mapping[str, Any] | None:
        with storage_errors(_FAILED):
            reply = self._client.get_item(
                TableName=self._table,
                Key=to_item({"client_id": client_id, "item": item}),
                ConsistentRead=True,
            )
        return from_item(reply["Item"]) if "Item" in reply else None

    def _save(self, record: Stored, item: str, **values: object) -> Stored:
        stored = record.model_copy(update={"version": record.version + 1})
        with storage_errors(_FAILED, instead=_CHANGED):
            self._client.put_item(
                TableName=self._table,
                Item=to_item(
                    {
                        "client_id": record.client_id,
                        "item": item,
                        "version": stored.version,
                        "document": stored.model_dump_json(),
                        **values,
                    }
                ),
                ConditionExpression="version = :read OR attribute_not_exists(version)"
                if record.version == 0
                else "version = :read",
                ExpressionAttributeValues=to_item({":read": record.version}),
            )
        return stored


def _changed(_error: ClientError) -> ChangedError:
    return ChangedError("The webhook has changed meanwhile.")


_CHANGED: Final = {"ConditionalCheckFailedException": _changed}


def _read(model: type[Stored], values: Mapping[str, Any]) -> Stored:
    try:
        return model.model_validate_json(values["document"])
    except ValidationError:  # its text quotes a URL, which may hold a secret
        raise StorageError("An item of the webhooks table cannot be read.") from None
