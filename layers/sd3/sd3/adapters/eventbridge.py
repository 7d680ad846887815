"""EventBridge: events for the rest of the account."""

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "sd3.jobs"

DETAIL_TYPE: Final = "Image Job Ended"

_MAX_ENTRIES: Final = 10

_MAX_BYTES: Final = 256_000
"""PutEvents takes 256 KB in one call, all entries together."""

_HEAD_BYTES: Final = len(SOURCE) + len(DETAIL_TYPE)

_logger = logging.getLogger(__name__)


class EventBridgeBus:
    """Events `Image Job Ended` on one bus."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def put(self, details: Sequence[str]) -> int:
        """Put one event for each JSON detail, in order.

        Returns how many events the bus took before the first that it rejected. Nothing is raised:
        a failure is logged, and the caller puts the rest again.
        """
        taken = 0
        for batch in _batches(details):
            count = self._put(batch)
            taken += count
            if count < len(batch):
                break
        return taken

    def _put(self, details: Sequence[str]) -> int:
        entries: list[PutEventsRequestEntryTypeDef] = [
            {
                "EventBusName": self._name,
                "Source": SOURCE,
                "DetailType": DETAIL_TYPE,
                "Detail": detail,
            }
            for detail in details
        ]
        try:
            with storage_errors("The events could not be put."):
                results = self._client.put_events(Entries=entries)["Entries"]
        except StorageError:
            _logger.exception("events not put")
            return 0
        for index, result in enumerate(results):
            if "ErrorCode" in result:
                _logger.error("event not put", extra={"code": result["ErrorCode"]})
                return index
        return len(details)


def _batches(details: Sequence[str]) -> Iterator[list[str]]:
    """Split into batches of what one call takes."""
    batch: list[str] = []
    room = _MAX_BYTES
    for detail in details:
        size = len(detail.encode()) + _HEAD_BYTES
        if batch and (size > room or len(batch) == _MAX_ENTRIES):
            yield batch
            batch, room = [], _MAX_BYTES
        batch.append(detail)
        room -= size
    if batch:
        yield batch
