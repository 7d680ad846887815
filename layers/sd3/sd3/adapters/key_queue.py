"""Queues in SQS whose messages name what is to be done by its key, and hold nothing of it."""

from functools import cache
from typing import Any, Protocol, TypeVar

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from sd3.adapters.sqs import SqsQueue


class Key(Protocol):
    """A NamedTuple that names something of a client: a delivery, or a step of a batch."""

    @property
    def client_id(self) -> str: ...
    def _asdict(self) -> dict[str, Any]: ...


KeyT = TypeVar("KeyT", bound=Key)


class SqsKeyQueue(SqsQueue):
    """Sends messages that are keys, in the group of their client."""

    def send(self, key: Key) -> None:
        """Send a message for a key. Raises StorageError."""
        body = pydantic_core.to_json(key._asdict()).decode()
        self.send_body(body, MessageGroupId=key.client_id)


def parse_key(kind: type[KeyT], body: str) -> KeyT | None:
    """Return the key that a message is, or None if it is none of this kind.

    A message that a later version has sent can say more.
    """
    try:
        values = _adapter(dict[str, object]).validate_json(body)
        known = {name: values[name] for name in kind.__annotations__ if name in values}
        found: KeyT = _adapter(kind).validate_python(known)
    except ValidationError:
        return None
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
