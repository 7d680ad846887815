"""DynamoDB clients with transaction conflicts and lost responses, over a client without them."""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError, ConnectionClosedError

TRANSACTION_SECONDS: Final = 0.01
LOST: Final = ConnectionClosedError(endpoint_url="https://dynamodb.test")


class Contended:
    """An item in a transaction conflicts with every other transaction, as in DynamoDB."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self.conflicts = 0

    def transact_write_items(self, TransactItems: Any) -> Any:  # noqa: N803 - botocore's name
        items = [_named(part) for part in TransactItems]
        with self._lock:
            if self._busy.intersection(items):
                self.conflicts += 1
                raise conflict([item in self._busy for item in items])
            self._busy.update(items)
        time.sleep(TRANSACTION_SECONDS)
        with self._lock:
            self._busy.difference_update(items)
            return self._client.transact_write_items(TransactItems=TransactItems)

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            with self._lock:
                return getattr(self._client, name)(**arguments)

        return call


class Unreliable:
    """An unreliable connection; `fate` is the outcome of the next write.

    A transaction that has `met` others is refused three times.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.fate = "done"
        self.met = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if name not in {"put_item", "transact_write_items"}:
            return operation

        def call(**arguments: Any) -> Any:
            if self.fate == "met" and name == "transact_write_items":
                self.met += 1
                if self.met % 4:
                    raise conflict([True] * len(arguments["TransactItems"]))
            fate, self.fate = self.fate, "done"
            if fate == "not sent":
                raise LOST
            response = operation(**arguments)
            if fate == "response lost":
                raise LOST
            return operation(**arguments) if fate == "repeated" else response

        return call


def conflict(taken: list[bool]) -> ClientError:
    """Make the error of a transaction of which some items are in another."""
    codes = ["TransactionConflict" if one else "None" for one in taken]
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": str(codes)},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(response, "TransactWriteItems")


def _named(part: Mapping[str, Any]) -> str:
    [(verb, write)] = part.items()
    key = {"id": write["Item"]["id"]} if verb == "Put" else write["Key"]
    return f"{write['TableName']} {key}"
