"""The part of AWS that the functions call, at one address. It counts every call."""

import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from hashlib import md5
from typing import Any, Final

from benchmarks.loopback import Call, Handler, Reply
from benchmarks.table_units import index_units, item_bytes, read_units, write_units

COUNTS = "/-/counts"
"""GET returns and resets the counts: calls by service and operation, and their DynamoDB units."""

RECEIVER = "/-/receiver"
"""The path of a webhook's receiver, which takes every message."""

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

_Tables = dict[str, dict[tuple[str, ...], dict[str, Any]]]
"""The items of each table, by their keys."""


def aws(
    s3_ms: int = 0, table_ms: int = 0, queue_ms: int = 0, stored: bytes = INBOX_FILE
) -> Handler:
    """Serve S3 after `s3_ms`, DynamoDB after `table_ms`, the other services after `queue_ms`.

    Objects are discarded, and `stored` is the content of all that are read. Items are stored as
    they were put: updates are accepted but not applied.
    """
    tables: _Tables = {}
    calls: Counter[str] = Counter()
    units: Counter[str] = Counter()

    def handle(call: Call) -> Reply:
        if call.target == COUNTS:
            counts = _json({"calls": calls, "units": units})
            calls.clear()
            units.clear()
            return counts
        if call.target == RECEIVER:
            return Reply("204 No Content")
        target = call.headers.get("x-amz-target", "")
        if not target:
            time.sleep(s3_ms / 1000)
            calls[f"s3 {_s3_operation(call)}"] += 1
            return _object(call, stored)
        service, operation = target.split(".")
        time.sleep((table_ms if service == "DynamoDB_20120810" else queue_ms) / 1000)
        values = json.loads(call.body)
        calls[f"{_SERVICES[service]} {operation}"] += 1
        if service != "DynamoDB_20120810":
            return _json(_OTHERS[operation](values))
        units.update(_put_units(tables, operation, values))
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


def _row(tables: _Tables, operation: str, values: dict[str, Any]) -> dict[str, Any]:
    if operation in {"PutItem", "TransactWriteItems"}:
        for put in _puts(operation, values):
            tables.setdefault(put["TableName"], {})[_key(put["Item"])] = put["Item"]
        return {}
    if operation == "Query":
        return {"Count": 1, "ScannedCount": 1, "Items": [_TOKEN]}  # a client's tokens
    if values["TableName"] == "clients":
        return {"Item": _TOKEN}
    item = tables.get(values["TableName"], {}).get(_key(values["Key"]))
    if item is None:
        return {}
    return {"Attributes" if operation == "UpdateItem" else "Item": item}


def _put_units(tables: _Tables, operation: str, values: dict[str, Any]) -> Counter[str]:
    """Count the units that puts take of the table and the indexes; a transaction costs double."""
    units: Counter[str] = Counter()
    for put in _puts(operation, values):
        old = tables.get(put["TableName"], {}).get(_key(put["Item"]))
        times = 1 if operation == "PutItem" else 2
        units["write"] += times * write_units(old, put["Item"])
        units["index"] += index_units(old, put["Item"])
    return units


def _units(operation: str, values: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """Count the units of a call but for its puts. Updated items are smaller than a unit."""
    if operation == "PutItem":
        return {}
    if operation == "TransactWriteItems":
        return {"write": 2 * sum("Update" in part for part in values["TransactItems"])}
    if operation == "UpdateItem":
        return {"write": 1}
    is_consistent = values.get("ConsistentRead", False)
    return {"read": read_units(item_bytes(found.get("Item", {})), is_consistent=is_consistent)}


def _puts(operation: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    if operation == "PutItem":
        return [values]
    parts = values.get("TransactItems", ()) if operation == "TransactWriteItems" else ()
    return [part["Put"] for part in parts if "Put" in part]


def _key(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key of an item: its id, or what another table has in its place."""
    names = ("id",) if "id" in item else ("client_id", "day", "item", "token_sha256")
    return tuple(item[name]["S"] for name in names if name in item)


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
