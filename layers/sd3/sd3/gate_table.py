"""The table of the gates, one item each: conditional writes, and what an item says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from sd3.errors import StorageError
from sd3.turns import State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CHANGED: Final = "ConditionalCheckFailedException"
_NUMBERS: Final = ("turn_at", "idle_since", "idle_until", "failures", "open_until")


class ChangedError(Exception):
    """The item is not as it was expected."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


@dataclass
class Update:
    """A conditional write in the making; values are integers, or a map of them."""

    sets: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    values: dict[str, int | dict[str, int]] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The arguments of UpdateItem."""
        clauses = {"SET": self.sets, "REMOVE": self.removes, "ADD": self.adds}
        expression = " ".join(f"{verb} {', '.join(each)}" for verb, each in clauses.items() if each)
        arguments: dict[str, Any] = {"UpdateExpression": expression}
        if self.conditions:
            arguments["ConditionExpression"] = " AND ".join(self.conditions)
        if self.values:
            arguments["ExpressionAttributeValues"] = {
                name: _value(value) for name, value in self.values.items()
            }
        return arguments


class GateTable:
    """The item of one upstream's gate."""

    def __init__(self, client: "DynamoDBClient", table: str, name: str) -> None:
        self._client, self._table = client, table
        self.name = name

    def update(self, update: Update) -> State:
        """Write; what the item was before.

        Raises StorageError, and ChangedError when the condition does not hold.
        """
        try:
            reply = self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": self.name}},
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **update.arguments(),
            )
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == _CHANGED:
                item = cast("Mapping[str, Any]", error.response.get("Item", {}))
                raise ChangedError(_state(item)) from error
            raise StorageError("The upstreams table could not be used.") from error
        return _state(reply.get("Attributes", {}))


def _value(value: int | dict[str, int]) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"M": {name: _value(one) for name, one in value.items()}}
    return {"N": str(value)}


def _state(item: Mapping[str, Any]) -> State:
    numbers = {name: int(item[name]["N"]) for name in _NUMBERS if name in item}
    places = item.get("places")
    known = places and {name: int(until["N"]) for name, until in places["M"].items()}
    return State(**numbers, places=known)
