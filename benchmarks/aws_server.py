"""As much of AWS as the functions call, on one address, counting every call."""

import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Any, Final

from benchmarks.loopback import Answer, Call, Reply

COUNTS = "/-/counts"
"""GET it to have what was counted since the last time: calls by service and operation, and the
DynamoDB units that they took."""

INBOX_FILE = b'{"prompt": "a lighthouse in a storm", "seed": 1, "image_encoding": "png"}'
"""What every object holds that is read."""

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


def aws(s3_latency: float = 0, table_latency: float = 0) -> Answer:
    """Answer S3 after `s3_latency` seconds, the others after `table_latency`.

    Objects are thrown away. Items are kept as they were put: an update is answered, not applied.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    calls: Counter[str] = Counter()
    units: Counter[str] = Counter()

    def answer(call: Call) -> Reply:
        if call.target == COUNTS:
            told = _json({"calls": calls, "units": units})
            calls.clear()
            units.clear()
            return told
        target = call.headers.get("x-amz-target", "")
        time.sleep(table_latency if target else s3_latency)
        if not target:
            calls[f"s3 {_s3_operation(call)}"] += 1
            return _object(call)
        service, operation = target.split(".")
        values = json.loads(call.body)
        calls[f"{_SERVICES[service]} {operation}"] += 1
        if service != "DynamoDB_20120810":
            return _json(_OTHERS[operation](values))
        found = _row(tables, operation, values)
        units.update(_units(operation, values, found))
        return _json(found)

    return answer


def _s3_operation(call: Call) -> str:
    return f"{call.method.capitalize()}Object"


def _object(call: Call) -> Reply:
    """No object is there when it is asked for by HEAD, and each is the same by GET."""
    status = "404 Not Found" if call.method == "HEAD" else "200 OK"
    return Reply(status, [("ETag", '"0"')], INBOX_FILE if call.method == "GET" else b"")


def _row(
    tables: dict[str, list[dict[str, Any]]], operation: str, values: dict[str, Any]
) -> dict[str, Any]:
    if operation == "TransactWriteItems":
        for put in _puts(values):
            _row(tables, "PutItem", put)
        return {}
    table = tables.setdefault(values.get("TableName", ""), [])
    if operation == "PutItem":
        table[:] = [values["Item"]]  # one request is under way at a time: the last is enough
        return {}
    if operation == "Query":
        return {"Count": 1, "ScannedCount": 1, "Items": [_TOKEN]}  # a client's tokens
    item = next((row for row in table if values.get("Key", {}).items() <= row.items()), None)
    if item is None:
        return {}
    return {"Attributes" if operation == "UpdateItem" else "Item": item}


def _units(operation: str, values: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """What a call takes of a table, and a put of the indexes; in a transaction a table's is double.

    What is updated is smaller than a unit.
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
    """Bytes of an item, of whose attributes each has one typed value: names count, too."""
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
