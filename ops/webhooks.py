"""python -m ops.webhooks CLIENT: show what a client's webhooks were told, or tell them again."""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from ops.client_data import known_id
from ops.clients import table
from ops.redrive import moment
from ops.stacks import DeployedStack, StackError, find_stack
from sd3.adapters.dynamodb.webhooks import WebhookStore
from sd3.adapters.key_queue import SqsKeyQueue
from sd3.domain.client_url import UrlPolicy
from sd3.domain.delivery import KEEP, DeliveryStatus
from sd3.domain.webhook_request import DeliveriesQuery, ReplayRequest
from sd3.errors import NotFoundError, StorageError
from sd3.responses.webhooks import DeliveryResponse
from sd3.services.ports import Clock
from sd3.services.webhooks import WebhookService

_DAY: Final = timedelta(days=1)
_PAGE: Final = 100
_HEADER: Final = ("event", "delivery", "type", "job", "host", "status", "attempts", "last", "next")


def main(arguments: list[str]) -> int:
    """Print the deliveries of a client, or how many begin again; return the exit status."""
    options = _parser().parse_args(arguments)
    now = datetime.now(UTC)
    since = max(options.since or now - _DAY, now - KEEP)
    try:
        service = service_of(find_stack(options.stack))
        if options.replay:
            count = replay(service, options.client, options.replay, since=since)
            lines = [f"{count} deliveries begin again"]
        else:
            found = deliveries(service, options.client, options.status, since=since)
            lines = [_endpoint(service, options.client), *table([_HEADER, *map(_row, found)])]
    except (StackError, StorageError, BotoCoreError, ClientError) as error:
        print(f"not done, run it again: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def service_of(deployed: DeployedStack) -> WebhookService:
    """Make the use cases of clients on webhooks, for a stack.

    Raises botocore's errors if there is no such stack.
    """
    outputs, sqs = deployed.outputs(), deployed.client("sqs")
    return WebhookService(
        webhooks=WebhookStore(deployed.client("dynamodb"), outputs["WebhooksTable"]),
        queue=SqsKeyQueue(lambda: sqs, outputs["DeliveriesQueue"]),
        secrets=tuple,  # none is needed here
        clock=Clock(
            now=lambda: datetime.now(UTC),
            monotonic=time.monotonic,
            sleep=time.sleep,
            jitter=random.random,
        ),
        policy=UrlPolicy.PUBLIC,  # no address is set here
    )


def deliveries(
    service: WebhookService, client_id: str, status: DeliveryStatus | None, *, since: datetime
) -> Iterator[DeliveryResponse]:
    """Read the deliveries of events since then, newest first. Raises StorageError."""
    cursor: str | None = None
    while True:
        query = DeliveriesQuery(status=status, limit=_PAGE, cursor=cursor)
        page = service.list_deliveries(client_id, query)
        for delivery in page.deliveries:
            if delivery.created_at < since:
                return
            yield delivery
        cursor = page.next_cursor
        if cursor is None:
            return


def replay(
    service: WebhookService, client_id: str, status: DeliveryStatus, *, since: datetime
) -> int:
    """Begin all deliveries with an end again, and return their number. Raises StorageError."""
    request, count = ReplayRequest(since=since, until=datetime.now(UTC), status=status), 0
    while True:
        page = service.replay_all(client_id, request)
        count += page.replayed
        if page.next_cursor is None:
            return count
        request = request.model_copy(update={"cursor": page.next_cursor})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make webhooks", description=__doc__)
    parser.add_argument("client", metavar="CLIENT", type=known_id)
    parser.add_argument("--since", type=moment, help="ISO time, UTC if it has no zone; a day ago")
    parser.add_argument("--status", type=DeliveryStatus, help=", ".join(DeliveryStatus))
    parser.add_argument("--replay", type=DeliveryStatus, help="begin those with this end again")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    return parser


def _endpoint(service: WebhookService, client_id: str) -> str:
    """Tell whether there is an endpoint; its address may hold a token, and is not shown."""
    try:
        webhook = service.get(client_id)
    except NotFoundError:
        return f"{client_id} has no webhook; its requests can name some."
    if webhook.disabled_at:
        since = f"{webhook.disabled_at:%Y-%m-%dT%H:%MZ}"
        return f"{client_id}'s webhook is disabled since {since}: {webhook.disabled_reason}."
    return f"{client_id} has a webhook for {', '.join(webhook.events)}."


def _row(one: DeliveryResponse) -> tuple[str, ...]:
    last = one.attempts[-1] if one.attempts else None
    return (
        f"{one.created_at:%Y-%m-%dT%H:%M:%SZ}",
        one.id,
        one.type,
        one.job_id or "-",
        one.host or "-",
        one.status,
        str(len(one.attempts)),
        one.reason or (str(last.status or last.error) if last else "-"),
        f"{one.next_at:%Y-%m-%dT%H:%MZ}" if one.next_at else "-",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
