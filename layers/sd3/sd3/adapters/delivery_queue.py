"""The queue of deliveries in SQS. Each message has the key of one delivery, and no URL."""

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from sd3.adapters.sqs import SqsQueue
from sd3.domain.delivery import DeliveryKey

_KEY = TypeAdapter(DeliveryKey)


class SqsDeliveryQueue(SqsQueue):
    """Sends messages of deliveries, in the group of their client."""

    def send(self, key: DeliveryKey) -> None:
        """Send a message for a delivery. Raises StorageError."""
        body = pydantic_core.to_json(key._asdict()).decode()
        self.send_body(body, MessageGroupId=key.client_id)


def parse_delivery(body: str) -> DeliveryKey | None:
    """Return the key of the delivery that a message is for, or None if it is for none."""
    try:
        return _KEY.validate_json(body)
    except ValidationError:
        return None
