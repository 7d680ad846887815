"""The queue of deliveries in SQS. Each message has the key of one delivery, and no URL."""

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from sd3.adapters.sqs import SqsQueue
from sd3.domain.delivery import DeliveryKey

_KEY = TypeAdapter(DeliveryKey)
_VALUES = TypeAdapter(dict[str, object])


class SqsDeliveryQueue(SqsQueue):
    """Sends messages of deliveries, in the group of their client."""

    def send(self, key: DeliveryKey) -> None:
        """Send a message for a delivery. Raises StorageError."""
        body = pydantic_core.to_json(key._asdict()).decode()
        self.send_body(body, MessageGroupId=key.client_id)


def parse_delivery(body: str) -> DeliveryKey | None:
    """Return the key of the delivery that a message is for, or None if it is for none.

    A message that a later version has sent can say more.
    """
    try:
        values = _VALUES.validate_json(body)
        known = {name: values[name] for name in DeliveryKey._fields if name in values}
        return _KEY.validate_python(known)
    except ValidationError:
        return None
