"""The part of AWS that the functions call, at one address. It counts every call."""

import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from hashlib import md5
from typing import Any, Final

from benchmarks.loopback import Call, Handler, Reply

COUNTS = "/-/counts"
"""GET returns and resets the counts: calls by service and operation, and their DynamoDB units."""

INBOX_FILE = b'{"prompt": "a lighthouse in a storm", "seed": 1, "image_encoding": "png"}'
"""The content of every object that is read, unless another is given."""

_TOKEN = {
    "token_sha256": {"S": "0" * 64},
    "client_id": {"S": "bench"},
    "name": {"S": "bench"},
    "created_at": {"S": "2026-11-23T00:00:00+00:00"},
}
_SERVICES = {
    "DynamoDB_20120810": "dynamodb",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
    "secretsmanager": "secretsmanager",
}
_WRITE_UNIT, _READ_UNIT = 1024, 4096


def aws(s3_ms: int = 0, table_ms: int = 0, stored: bytes = INBOX_FILE) -> Handler:
    """Serve S3 after `s3_ms`, the other services after `table_ms`.

    Objects are discarded, and `stored` is the content of all that are read. Items are stored as
    they were put: updates are accepted but not applied.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    calls: Counter[str] = Counter()
    units: Counter[str] = Counter()

    def handle(call: Call) -> Reply:
        if call.target == COUNTS:
            counts = _json({"calls": calls, "units": units})
            calls.clear()
            units.clear()
            return counts
        target = call.headers.get("x-amz-target", "")
        time.sleep((table_ms if target else s3_ms) / 1000)
        if not target:
            calls[f"s3 {_s3_operation(call)}"] += 1
            return _object(call, stored)
        service, operation = target.split(".")
        values = json.loads(call.body)
        calls[f"{_SERVICES[service]} {operation}"] += 1
        if service != "DynamoDB_20120810":
            return _json(_OTHERS[operation](values))
        found = _row(tables, operation, values)
        units.update(_units(operation, values, found))
        return _json(found)

    return handle


def _s3_operation(call: Call) -> str:
    return f"{call.method.capitalize()}Object"


def _object(call: Call, stored: bytes) -> Reply:
    """Respond that an object is missing to HEAD, and with the same object to every GET."""
    status = "404 Not Found" if call.method == "HEAD" else "200 OK"
    headers = [("ETag", '"0"'), ("Last-Modified", formatdate(usegmt=True))]
    return Reply(status, headers, stored if call.method == "GET" else b"")


def _row(
    tables: dict[str, list[dict[str, Any]]], operation: str, values: dict[str, Any]
) -> dict[str, Any]:
    if operation == "TransactWriteItems":
        for put in _puts(values):
            _row(tables, "PutItem", put)
        return {}
    table = tables.setdefault(values.get("TableName", ""), [])
    if operation == "PutItem":
        table[:] = [values["Item"]]  # there is one request at a time, so the last item is enough
        return {}
    if operation == "Query":
        return {"Count": 1, "ScannedCount": 1, "Items": [_TOKEN]}  # a client's tokens
    item = next((row for row in table if values.get("Key", {}).items() <= row.items()), None)
    if item is None:
        return {}
    return {"Attributes" if operation == "UpdateItem" else "Item": item}


def _units(operation: str, values: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """Count a call's units of the table, and a put's of the indexes; a transaction costs double.

    Updated items are smaller than a unit.
    """
    if operation == "PutItem":
        units = math.ceil(_size(values["Item"]) / _WRITE_UNIT)
        return {"write": units, "index": units}
    if operation == "TransactWriteItems":
        puts = sum(math.ceil(_size(put["Item"]) / _WRITE_UNIT) for put in _puts(values))
        updates = sum("Update" in part for part in values["TransactItems"])
        return {"write": 2 * (puts + updates), "index": puts}
    if operation == "UpdateItem":
        return {"write": 1}
    size = max(_size(found.get("Item", {})), 1)
    share = 1 if values.get("ConsistentRead") else 0.5
    return {"read": share * math.ceil(size / _READ_UNIT)}


def _puts(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [part["Put"] for part in values["TransactItems"] if "Put" in part]


def _size(item: dict[str, Any]) -> int:
    """Count the bytes of an item, those of its attributes' names too."""
    return sum(len(name) + len(str(*value.values()).encode()) for name, value in item.items())


def _secret(values: dict[str, Any]) -> dict[str, Any]:
    return {"ARN": values["SecretId"], "Name": values["SecretId"], "SecretString": "token"}


def _sent(values: dict[str, Any]) -> dict[str, Any]:
    digest = md5(values["MessageBody"].encode(), usedforsecurity=False)
    return {"MessageId": "1", "MD5OfMessageBody": digest.hexdigest()}


def _events(values: dict[str, Any]) -> dict[str, Any]:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in values["Entries"]]}


_OTHERS: Final[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "GetSecretValue": _secret,
    "SendMessage": _sent,
    "PutEvents": _events,
    "ChangeMessageVisibility": lambda _values: {},
}


def _json(values: dict[str, Any]) -> Reply:
    body = json.dumps(values).encode()
    crc = str(zlib.crc32(body))
    kind = ("Content-Type", "application/x-amz-json-1.0")
    return Reply(headers=[kind, ("x-amz-crc32", crc)], body=body)
