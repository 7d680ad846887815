"""The stores of a stack, for what they have of one client."""

import argparse
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ops.stacks import DeployedStack
from sd3.adapters.dynamodb.batches import BatchStore
from sd3.adapters.dynamodb.client_items import ClientItems
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.adapters.dynamodb.webhooks import WebhookStore
from sd3.adapters.s3.client_files import ClientFiles
from sd3.domain.billing import DailyUsage
from sd3.domain.client import CLIENT_ID

_FIRST_DAY: Final = "0001-01-01"
_LAST_DAY: Final = "9999-12-31"


class ClientData(NamedTuple):
    """What a stack has of one client."""

    client_id: str
    jobs: JobStore
    items: ClientItems
    files: ClientFiles
    usage: UsageStore
    tokens: TokenStore
    webhooks: WebhookStore
    batches: BatchStore

    def days(self) -> tuple[DailyUsage, ...]:
        """Read the usage of each day that there is, newest first. Raises StorageError."""
        return self.usage.days(self.client_id, since=_FIRST_DAY, until=_LAST_DAY)


def data_of(
    client_id: str, deployed: DeployedStack, *, sleep: Callable[[float], None] = time.sleep
) -> ClientData:
    """Find what a stack has of a client. Raises botocore's errors if there is no such stack."""
    outputs = deployed.outputs()
    dynamodb = deployed.client("dynamodb")
    names = ("Jobs", "Usage", "Webhooks", "Batches")
    jobs, usage, webhooks, batches = (outputs[f"{name}Table"] for name in names)
    return ClientData(
        client_id,
        JobStore(dynamodb, jobs, usage_table=usage),
        ClientItems(
            dynamodb,
            client_id,
            jobs_table=jobs,
            usage_table=usage,
            webhooks_table=webhooks,
            batches_table=batches,
            sleep=sleep,
        ),
        ClientFiles(
            deployed.client("s3"),
            client_id,
            images_bucket=outputs["ImagesBucket"],
            inbox_bucket=outputs["InboxBucket"],
        ),
        UsageStore(dynamodb, usage),
        TokenStore(dynamodb, outputs["ClientsTable"]),
        WebhookStore(dynamodb, webhooks),
        BatchStore(dynamodb, batches),
    )


def known_id(text: str) -> str:
    """Parse the id of a client; raises ArgumentTypeError for what can be none."""
    if not CLIENT_ID.fullmatch(text):
        msg = f"a client id is 1 to 63 of a-z, 0-9 and -, not starting with -: {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text
