"""The EventBridge bus that the service publishes its events to."""

from typing import TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "sd3.jobs"

DETAIL_TYPE: Final = "Image Job Ended"

WEBHOOK_DISABLED: Final = "Webhook Disabled"

BATCH_ENDED: Final = "Image Batch Ended"


class EventBridgeBus:
    """Publishes the service's events to one bus."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def put(self, detail: str) -> None:
        """Put the event of a job's end, with a detail in JSON. Raises StorageError."""
        self._put(DETAIL_TYPE, detail)

    def put_webhook_disabled(self, detail: str) -> None:
        """Put the event of a disabled webhook, with a detail in JSON. Raises StorageError."""
        self._put(WEBHOOK_DISABLED, detail)

    def put_batch_ended(self, detail: str) -> None:
        """Put the event of a batch's end, with a detail in JSON. Raises StorageError."""
        self._put(BATCH_ENDED, detail)

    def _put(self, detail_type: str, detail: str) -> None:
        entry: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": detail,
        }
        with storage_errors("The event could not be put."):
            [result] = self._client.put_events(Entries=[entry])["Entries"]
        if "ErrorCode" in result:
            raise StorageError(f"The bus did not take the event: {result['ErrorCode']}.")
