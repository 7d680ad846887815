"""The usage table, as it is read: a client's days in the ledger."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sd3.errors import StorageError
from sd3.ledger import booking_from
from sd3.ports import UsedDay

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class UsageTable:
    """One item for each client and day, which jobs.JobStore writes."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def days(self, client_id: str, *, since: str, until: str) -> tuple[UsedDay, ...]:
        """The days from one to another (ISO) that have bookings, newest first.

        Raises StorageError.
        """
        try:
            reply = self._client.query(
                TableName=self._table,
                KeyConditionExpression="client_id = :client AND #day BETWEEN :since AND :until",
                ExpressionAttributeNames={"#day": "day"},
                ExpressionAttributeValues={
                    ":client": {"S": client_id},
                    ":since": {"S": since},
                    ":until": {"S": until},
                },
                ConsistentRead=True,
                ScanIndexForward=False,
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The usage table could not be read.") from error
        return tuple(UsedDay(item["day"]["S"], booking_from(item)) for item in reply["Items"])
