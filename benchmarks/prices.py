"""AWS's on-demand prices in us-east-1, and where each was read. Check one before you quote it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

DATE: Final = "2026-11-27"
"""When the table was last compared with its sources. No page of AWS could be opened for it."""


class Price(NamedTuple):
    """The dollars for one unit, how many units of a month are free for ever, and the source."""

    dollars: float
    unit: str
    free: float = 0
    source: str = ""
    """A page and its date. Empty for a price from memory."""


PRICES: Final[Mapping[str, Price]] = {
    "Lambda, arm64": Price(0.0000133334, "GB-second", 400_000, "cloudchipr.com, 2024"),
    "Lambda calls": Price(0.20e-6, "call", 1_000_000, "wring.co, 2026-03"),
    "Lambda SnapStart, kept": Price(0.0000015046, "GB-second", 0, "awsnegotiations.com, 2026-05"),
    "Lambda SnapStart, restored": Price(0.0001397998, "GB", 0, "awsnegotiations.com, 2026-05"),
    "API Gateway, REST": Price(3.50e-6, "request", 0, "go-cloud.io, 2026"),
    "DynamoDB writes": Price(0.625e-6, "unit", 0, "airbyte.com, 2025-07"),
    "DynamoDB reads": Price(0.125e-6, "unit", 0, "airbyte.com, 2025-07"),
    "DynamoDB storage": Price(0.25, "GB-month", 25, "aws.amazon.com/dynamodb/pricing, undated"),
    "DynamoDB point-in-time recovery": Price(0.20, "GB-month"),
    "SQS": Price(0.40e-6, "request", 1_000_000),
    "S3 writes": Price(5.00e-6, "request"),
    "S3 reads": Price(0.40e-6, "request"),
    "S3 storage": Price(0.023, "GB-month"),
    "EventBridge": Price(1.00e-6, "event of up to 64 KB", 0, "cloudburn.io, 2026-03"),
    "Egress": Price(0.09, "GB", 100, "usage.ai, 2026-06"),
    "CloudWatch logs": Price(0.50, "GB", 5, "factualminds.com, 2026-06"),
    "CloudWatch alarms": Price(0.10, "metric of an alarm and month", 10),
    "CloudWatch metrics": Price(0.30, "metric and month", 10, "signoz.io, 2026-02"),
    "CloudWatch dashboards": Price(3.00, "dashboard and month", 3, "factualminds.com, 2026-06"),
    "X-Ray": Price(5.00e-6, "trace", 100_000),
    "Secrets Manager": Price(0.40, "secret and month"),
    "KMS key": Price(1.00, "key and month", 0, "wring.co and cloudburn.io, 2026-03"),
    "KMS requests": Price(3.00e-6, "request", 20_000, "wring.co and cloudburn.io, 2026-03"),
    "WAF web ACL": Price(5.00, "web ACL and month", 0, "awsnegotiations.com, 2026"),
    "WAF rule": Price(1.00, "rule and month", 0, "awsnegotiations.com, 2026"),
    "WAF requests": Price(0.60e-6, "request", 0, "awsnegotiations.com, 2026"),
    "NAT gateway": Price(0.045, "hour", 0, "leanopstech.com, 2026-04"),
    "NAT gateway, data": Price(0.045, "GB", 0, "leanopstech.com, 2026-04"),
    "VPC interface endpoint": Price(0.01, "hour and zone", 0, "finopsforge.com, undated"),
}

GB_SECOND: Final = PRICES["Lambda, arm64"].dollars

_TABLES: Final = (
    "PutItem", "UpdateItem", "TransactWriteItems", "GetItem", "BatchGetItem", "Query",
)  # fmt: skip
_CALLED: Final[Mapping[str, tuple[str, ...]]] = {
    "Lambda calls": ("lambda Invoke",),
    "API Gateway, REST": ("apigateway Request",),
    "SQS": tuple(
        f"sqs {name}"
        for name in ("SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")
    ),
    "S3 writes": ("s3 PutObject",),
    "S3 reads": ("s3 GetObject", "s3 HeadObject"),
    "EventBridge": ("events PutEvents",),
}

CALLS: Final[Mapping[str, float]] = {
    call: PRICES[name].dollars for name, calls in _CALLED.items() for call in calls
} | {f"dynamodb {name}": 0.0 for name in _TABLES}
"""Dollars for one call. Those to DynamoDB are paid by units."""

UNITS: Final = {
    "write": PRICES["DynamoDB writes"].dollars,
    "index": PRICES["DynamoDB writes"].dollars,
    "read": PRICES["DynamoDB reads"].dollars,
}
"""Dollars for one unit of a DynamoDB table: `index` are what its indexes are written."""

MEMORY_MB: Final = {
    "authorizer": 512,
    "generate": 768,
    "jobs": 512,
    "mcp": 768,
    "notifications": 512,
    "deliveries": 512,
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
