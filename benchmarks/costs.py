"""What the service costs on AWS: for 1000 images, for a month without, and by clients who wait."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from benchmarks import recorded
from benchmarks.aws_calls import EVENT_SOURCE, OUTSIDE, WAITING
from benchmarks.entrypoints import DELIVERY, ENTRYPOINTS, Step
from benchmarks.prices import MEMORY_MB, PRICES, UPSTREAM_IMAGE, calls_price, compute_price
from benchmarks.table import Note
from sd3.api.app import JOB_RETRY_AFTER
from sd3.domain.client import MAX_WAIT_SECONDS
from sd3.http.webhook_receiver import SECONDS as SECONDS_OF_AN_ATTEMPT
from sd3.observability import METRICS
from sd3.services.waits import POLL_SECONDS
from tools import ROOT
from tools.translation import read_template

IMAGES: Final = 1000
IMAGE_GB: Final = 0.0015
"""A PNG of 1024 x 1024. A JPEG takes a tenth to a half of it."""
ITEMS_GB: Final = 3e-6
"""What the tables keep of a job: its item, its entry in the index, and the marks of its writes."""
RESPONSE_GB: Final = 2e-6
LAMBDA_LOG_BYTES: Final = 400
"""Lambda's own lines for a run: START, END and REPORT."""
ACCESS_LOG_BYTES: Final = 450
"""The gateway's line for a request."""

HOURS: Final = 730
SECONDS: Final = HOURS * 3600
"""Of a month."""
POLLS: Final = 5 * SECONDS / 20
"""Receives that Lambda makes for a queue in a month without messages, by five pollers that wait for
20 s each. AWS documents the five for the beginning, and not what becomes of them."""
STATUSES: Final = 3
"""Metrics of JobsEnded: succeeded, failed, canceled."""
MESSAGES: Final = 1_000_000
RECEIVER_SECONDS: Final = 0.2
"""How long a webhook's receiver takes to answer, with its TLS handshake: a guess."""
MESSAGE_GB: Final = 3e-6
"""A message to a webhook about one image, with its link, the headers and TLS."""
JOB_SECONDS: Final = 10
"""How long a client waits for a queued job."""


class Row(NamedTuple):
    """A line of a table: its name and its dollars, one for each column."""

    name: str
    dollars: Sequence[float]


# ---- 1000 images ---------------------------------------------------------------------------------


def image_rows() -> list[Row]:
    """Return what 1000 images cost, by item and by entrypoint: first all that is no sum."""
    columns = {name: _items(name, recorded.read().steps[name]) for name in ENTRYPOINTS}
    found = dict.fromkeys(name for items in columns.values() for name in items)
    names = sorted(found, key=lambda name: not name.startswith("Lambda"))
    return [Row(name, [items.get(name, 0.0) for items in columns.values()]) for name in names]


KEPT: Final = ("Egress: the image once, and the responses", "Storage of 30 days")
"""What depends on the size of images and on what clients do with them."""


def totals(rows: Sequence[Row]) -> tuple[Row, Row]:
    """Return the sum without and with egress and storage."""
    service = [row for row in rows if row.name not in KEPT]
    return total("**AWS without egress and storage**", service), total("**AWS**", rows)


def total(name: str, rows: Sequence[Row]) -> Row:
    """Return the sum of rows, column by column."""
    return Row(name, [sum(column) for column in zip(*(row.dollars for row in rows), strict=True)])


def _items(entrypoint: str, steps: Sequence[Step]) -> dict[str, float]:
    """Return the dollars of 1000 images by one entrypoint."""
    items: dict[str, float] = defaultdict(float)
    waiting: str | None = WAITING[entrypoint]
    for step in steps:
        waits = step.function if step.function == waiting else None
        waiting = None if waits else waiting  # a function that runs again waits no more
        items[f"Lambda: {step.function}"] += compute_price(step.seconds, waiting=waits)
        items[f"Lambda: {step.function}"] += PRICES["Lambda calls"].dollars
    calls = Counter(EVENT_SOURCE) + Counter(OUTSIDE[entrypoint])
    calls["s3 GetObject"] += 1  # the client's, of the image
    units: Counter[str] = Counter()
    for step in steps:
        calls.update(step.calls)
        units.update(step.units)
    for service, name in _SERVICES.items():
        chosen = {call: count for call, count in calls.items() if call.startswith(f"{service} ")}
        items[name] = calls_price(chosen, {})
    items["DynamoDB"] = calls_price({}, units)
    requests = OUTSIDE[entrypoint].get("apigateway Request", 0)
    logged = sum(step.log_bytes + LAMBDA_LOG_BYTES for step in steps) + requests * ACCESS_LOG_BYTES
    items["Logs"] = logged / 1e9 * PRICES["CloudWatch logs"].dollars
    items[KEPT[0]] = (IMAGE_GB + requests * RESPONSE_GB) * PRICES["Egress"].dollars
    items[KEPT[1]] = IMAGE_GB * PRICES["S3 storage"].dollars + ITEMS_GB * (
        PRICES["DynamoDB storage"].dollars + PRICES["DynamoDB point-in-time recovery"].dollars
    )
    return {name: IMAGES * dollars for name, dollars in items.items()}


_SERVICES: Final = {
    "apigateway": "API Gateway",
    "sqs": "SQS",
    "s3": "S3 requests",
    "events": "EventBridge",
}


# ---- A month without jobs ------------------------------------------------------------------------


def idle_rows() -> list[Row]:
    """Return what a month without jobs costs by default: at list price, and beyond what is free."""
    return [
        _monthly("Alarms: {} metrics", "CloudWatch alarms", _alarm_metrics()),
        _monthly("Dashboards: {}", "CloudWatch dashboards", len(_monitoring(_DASHBOARD))),
        _monthly("The secret with the upstreams' keys", "Secrets Manager", 1),
        _monthly("The secret that signs the marks of images", "Secrets Manager", 1),
        _monthly("Lambda asking {} queues for messages", "SQS", POLLS * _queues(), shown=_queues()),
        Row("Functions, API, tables, buckets and events", [0.0, 0.0]),
    ]


def option_rows() -> list[Row]:
    """Return what parameters add to a month, whether there are jobs or not."""
    snapshots = sum(_snap_started())
    return [
        Row("`C2paSecretArn`: the secret", [PRICES["Secrets Manager"].dollars]),
        Row("`KmsKeyArn`: the key", [PRICES["KMS key"].dollars]),
        Row(
            f"`SnapStart`: the kept versions of {len(_snap_started())} functions",
            [snapshots * SECONDS * PRICES["Lambda SnapStart, kept"].dollars],
        ),
        Row(
            "`WebAclArn`: a web ACL of WAF with one rule",
            [PRICES["WAF web ACL"].dollars + PRICES["WAF rule"].dollars],
        ),
        Row("`SubnetIds`: a NAT gateway", [HOURS * PRICES["NAT gateway"].dollars]),
        Row(
            "`SubnetIds`: each interface endpoint, in each zone",
            [HOURS * PRICES["VPC interface endpoint"].dollars],
        ),
        Row(
            f"With jobs: {_metrics()} metrics of one upstream, if each is written in every hour",
            [_metrics() * PRICES["CloudWatch metrics"].dollars],
        ),
    ]


def _monthly(name: str, price: str, count: float, *, shown: float | None = None) -> Row:
    dollars, _, free, _ = PRICES[price]
    paid = [count * dollars, max(count - free, 0) * dollars]
    return Row(name.format(count if shown is None else shown), paid)


_ALARM: Final = "AWS::CloudWatch::Alarm"
_DASHBOARD: Final = "AWS::CloudWatch::Dashboard"


def _alarm_metrics() -> int:
    """Count the metrics that alarms watch: each is paid, also those of an expression."""
    return sum(
        sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1
        for alarm in _monitoring(_ALARM)
    )


def _metrics() -> int:
    """Count the metrics of the functions: one with a dimension has a total beside its values."""
    return sum(
        1 + {"status": STATUSES, None: 0}.get(definition.dimension, 1)
        for definition in METRICS.values()
    )


@cache
def _template(name: str) -> Any:
    return read_template(ROOT / name)


def _monitoring(kind: str) -> list[Any]:
    """Return what there is by default, which is all but SpendAlarm."""
    resources = _template("monitoring.yaml")["Resources"].values()
    found = [each for each in resources if each["Type"] == kind]
    return [each["Properties"] for each in found if each.get("Condition") != "HasSpendAlarm"]


def _queues() -> int:
    """Count the queues that Lambda asks for messages."""
    return sum(
        "Queue" in str(each["Properties"].get("EventSourceArn"))
        for each in _template("template.yaml")["Resources"].values()
    )


def _snap_started() -> list[float]:
    """Return the memory in GB of each function that is started from a snapshot."""
    return [
        each["Properties"].get("MemorySize", 512) / 1024
        for each in _template("template.yaml")["Resources"].values()
        if "SnapStart" in each.get("Properties", {})
    ]


# ---- Waiting for a queued job --------------------------------------------------------------------


def waiting_rows() -> list[Row]:
    """Return what clients cost who wait: for 1000 jobs of 10 s, and one for a whole month."""
    rows = [(f"`Prefer: wait={MAX_WAIT_SECONDS}`", MAX_WAIT_SECONDS, True)]
    rows += [(f"asking every {seconds} s", seconds, False) for seconds in JOB_RETRY_AFTER]
    return [
        Row(
            name,
            [
                IMAGES * -(-JOB_SECONDS // seconds) * _call(min(seconds, JOB_SECONDS), holds=holds),
                SECONDS / seconds * _call(seconds, holds=holds),
            ],
        )
        for name, seconds, holds in rows
    ]


def _call(seconds: float, *, holds: bool) -> float:
    """Compute the dollars of one GET of a job, which holds the function for so long or not."""
    [step] = [step for step in recorded.read().steps["queued"] if step.function == "jobs"]
    held = seconds * MEMORY_MB["jobs"] / 1024 * PRICES["Lambda, arm64"].dollars if holds else 0
    reads = 1 + (seconds / POLL_SECONDS if holds else 0)
    units = {name: count * reads for name, count in step.units.items()}
    if holds:
        units["write"] = 1  # the count of the client's waits
    calls = {"apigateway Request": 1, "lambda Invoke": 1}
    logged = step.log_bytes + LAMBDA_LOG_BYTES + ACCESS_LOG_BYTES
    logs = logged / 1e9 * PRICES["CloudWatch logs"].dollars
    return compute_price(step.seconds) + held + calls_price(calls, units) + logs


# ---- Webhooks ------------------------------------------------------------------------------------


def delivery_rows() -> list[Row]:
    """Return what a million attempts cost: that arrive, that fail, and whose receiver hangs.

    The read of a client's settings at the end of each job is in the table of images.
    """
    [_, step] = recorded.read().steps[DELIVERY]
    waits = (RECEIVER_SECONDS, RECEIVER_SECONDS, SECONDS_OF_AN_ATTEMPT)
    memory = MEMORY_MB["deliveries"] / 1024 * PRICES["Lambda, arm64"].dollars
    own = compute_price(step.seconds) + PRICES["Lambda calls"].dollars
    logged = (step.log_bytes + LAMBDA_LOG_BYTES) / 1e9 * PRICES["CloudWatch logs"].dollars
    attempts = {
        "Lambda: deliveries": [own + seconds * memory for seconds in waits],
        "SQS": [count * PRICES["SQS"].dollars for count in (3, 2, 2)],
        "DynamoDB": [calls_price({}, step.units)] * len(waits),
        "Logs": [logged] * len(waits),
        "Egress": [MESSAGE_GB * PRICES["Egress"].dollars] * len(waits),
    }
    return [Row(name, [MESSAGES * each for each in paid]) for name, paid in attempts.items()]


# ---- Output --------------------------------------------------------------------------------------


def measure(_rounds: int) -> Iterator[Note]:
    """Print the tables of docs/costs.md, from what was recorded."""
    rows = image_rows()
    yield Note("1000 images by", "  ".join(f"{name:>12}" for name in ENTRYPOINTS))
    yield from _notes([*rows, *totals(rows)])
    share = [100 * dollars / (IMAGES * UPSTREAM_IMAGE) for dollars in totals(rows)[1].dollars]
    yield Note("of the upstream's price", "  ".join(f"{each:>11.1f}%" for each in share))
    yield Note("a month without jobs", f"{'list price':>12}  {'beyond free':>12}")
    idle = idle_rows()
    yield from _notes([*idle, total("sum", idle)])
    yield Note("options, a month", "")
    yield from _notes(option_rows())
    yield Note("a million messages to webhooks", "     arrive          fail          hang")
    messages = delivery_rows()
    yield from _notes([*messages, total("sum", messages)])
    yield Note("waiting", f"{'1000 jobs':>12}  {'a month':>12}")
    yield from _notes(waiting_rows())


def _notes(rows: Sequence[Row]) -> Iterator[Note]:
    for name, dollars in rows:
        text = "  ".join(f"${each:>11.4f}" for each in dollars)
        yield Note(f"  {name.replace('*', '')}", text)
