"""Items of DynamoDB, to and from Python: texts, whole numbers, sets of texts, and maps of these."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Any]
"""An item as DynamoDB's API and streams have it: `{"status": {"S": "queued"}}`."""

_SERIALIZER: Final = TypeSerializer()

_DESERIALIZER: Final = TypeDeserializer()


def to_item(values: Mapping[str, object]) -> "dict[str, AttributeValueTypeDef]":
    """Return `values` as an item, a key, or the values of an expression."""
    return {name: _SERIALIZER.serialize(value) for name, value in values.items()}


def from_item(item: Item) -> dict[str, Any]:
    """Return the values of an item; numbers as int."""
    return {name: _whole(_DESERIALIZER.deserialize(value)) for name, value in item.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value
