"""AWS's on-demand prices in us-east-1 in 2026-11. Check before quoting."""

from collections.abc import Mapping
from typing import Final

GB_SECOND: Final = 0.0000133334
"""Lambda on arm64, up to 7.5 billion GB-s a month."""

CALLS: Final = {
    "lambda Invoke": 0.20e-6,
    "apigateway Request": 3.50e-6,  # a REST API
    "sqs SendMessage": 0.40e-6,
    "sqs ReceiveMessage": 0.40e-6,
    "sqs DeleteMessage": 0.40e-6,
    "sqs ChangeMessageVisibility": 0.40e-6,
    "s3 PutObject": 5.00e-6,
    "s3 GetObject": 0.40e-6,
    "s3 HeadObject": 0.40e-6,
    "events PutEvents": 1.00e-6,  # an event of up to 64 KB
    "dynamodb PutItem": 0.0,  # by units
    "dynamodb UpdateItem": 0.0,
    "dynamodb TransactWriteItems": 0.0,
    "dynamodb GetItem": 0.0,
    "dynamodb BatchGetItem": 0.0,
    "dynamodb Query": 0.0,
}
"""Dollars for one."""

UNITS: Final = {"write": 0.625e-6, "index": 0.625e-6, "read": 0.125e-6}
"""Dollars for one unit of a DynamoDB table: `index` are what its indexes are written."""

MEMORY_MB: Final = {
    "authorizer": 512,
    "generate": 768,
    "jobs": 512,
    "notifications": 512,
    "worker": 768,
    "inbox": 1024,
}
"""What template.yaml gives the functions."""

WHOLE_CPU_GB: Final = 1769 / 1024
"""Lambda's memory at which a function has one CPU. With less memory, work takes as much longer, and
so costs the same."""

UPSTREAM_IMAGE: Final = 0.03
"""OctoAI, at 30 steps; Stability AI's and Bedrock's SD3.5 large are 0.065 and 0.08."""
UPSTREAM_SECONDS: Final = 3.5
"""How long a function waits, and is paid, for such an image."""


def compute_price(own_seconds: float, *, waiting: str | None = None) -> float:
    """Compute the dollars for functions: their time on one CPU, and `waiting` for the upstream.

    A wait is paid by the memory of the function that waits.
    """
    waited = UPSTREAM_SECONDS * MEMORY_MB[waiting] / 1024 if waiting else 0
    return (own_seconds * WHOLE_CPU_GB + waited) * GB_SECOND


def calls_price(calls: Mapping[str, int], units: Mapping[str, float]) -> float:
    """Compute the dollars for calls and units; raises KeyError for one without a price."""
    tables = sum(UNITS[name] * count for name, count in units.items())
    return tables + sum(CALLS[name] * count for name, count in calls.items())
