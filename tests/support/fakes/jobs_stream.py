"""The stream of the jobs table on moto, which has no event source mappings of DynamoDB."""

from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends


class JobsStream:
    """The records of a table's stream, each of which is read once."""

    def __init__(self, table: str = "jobs") -> None:
        self._table, self._position = table, 0

    def read(self) -> list[dict[str, Any]]:
        """Return the records since the last call, as Lambda would hand them to a function."""
        backend: Any = dynamodb_backends[DEFAULT_ACCOUNT_ID]["eu-central-1"]
        records = backend.tables[self._table].stream_shard.items[self._position :]
        self._position += len(records)
        return [record.to_json() for record in records]
