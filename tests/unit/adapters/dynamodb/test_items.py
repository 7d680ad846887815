"""Items of DynamoDB: what is written is read again, in Python's own types."""

from sd3.adapters.dynamodb.table import from_item, to_item
from sd3.domain.job import JobStatus

VALUES = {
    "id": "a",
    "status": JobStatus.QUEUED,
    "ttl": 1_795_000_000_000_000,
    "scopes": frozenset(("read", "generate")),
    "leases": {"worker0": 7},
}


def test_an_item_is_in_dynamodbs_types() -> None:
    assert to_item({name: VALUES[name] for name in ("id", "ttl", "leases")}) == {
        "id": {"S": "a"},
        "ttl": {"N": "1795000000000000"},
        "leases": {"M": {"worker0": {"N": "7"}}},
    }


def test_an_item_is_read_as_it_was_written() -> None:
    values = from_item(to_item(VALUES))
    assert values == VALUES
    assert {type(values["ttl"]), type(values["leases"]["worker0"])} == {int}
