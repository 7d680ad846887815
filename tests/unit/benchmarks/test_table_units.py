"""The units of DynamoDB: what a write takes of the table and of its indexes, and what a read."""

from typing import Any, Final

import pytest

from benchmarks.table_units import (
    JOBS_INDEXES,
    Index,
    index_units,
    item_bytes,
    read_units,
    write_units,
)
from tests.support.factories.template import source

KEYS_ONLY: Final = (Index("shard", "time"),)
WHOLE: Final = (Index("shard", "time", has_whole_items=True),)


def item(*, size: int = 0, **attributes: str) -> dict[str, Any]:
    values = {"id": "j", "shard": "a#1", "time": "1", "text": "x" * size} | attributes
    return {name: {"S": text} for name, text in values.items() if text != "none"}


def test_the_indexes_are_those_of_the_template() -> None:
    indexes = source()["Resources"]["JobsTable"]["Properties"]["GlobalSecondaryIndexes"]
    keys = [tuple(part["AttributeName"] for part in index["KeySchema"]) for index in indexes]
    assert keys == [(index.partition_key, index.sort_key) for index in JOBS_INDEXES]
    assert {index["Projection"]["ProjectionType"] for index in indexes} == {"KEYS_ONLY"}


def test_names_and_values_are_counted() -> None:
    assert item_bytes({"id": {"S": "j"}, "ttl": {"N": "1764000000"}}) == 2 + 1 + 3 + 10


@pytest.mark.parametrize(("old", "new", "units"), [(0, 900, 1), (0, 1100, 2), (5000, 10, 5)])
def test_the_larger_of_the_old_and_the_new_item_is_written(old: int, new: int, units: int) -> None:
    assert write_units(item(size=old), item(size=new)) == units


@pytest.mark.parametrize(
    ("old", "new", "keys_only", "whole"),
    [
        (None, item(size=3000), 1, 3),
        (item(size=3000), item(size=3000), 0, 0),
        (item(size=3000), item(size=5000), 0, 5),
        (item(size=3000), item(size=3000, time="2"), 2, 6),
        (item(size=3000), item(size=3000, shard="none"), 1, 3),
        (None, item(size=3000, shard="none"), 0, 0),
    ],
    ids=["new", "the same", "changed", "moved", "no longer listed", "never listed"],
)
def test_an_index_takes_units_for_what_changes_of_it(
    old: Any, new: Any, keys_only: int, whole: int
) -> None:
    assert index_units(old, new, KEYS_ONLY) == keys_only
    assert index_units(old, new, WHOLE) == whole


@pytest.mark.parametrize(("size", "units"), [(0, 1), (4096, 1), (4097, 2)])
def test_a_consistent_read_takes_twice_the_units(size: int, units: int) -> None:
    assert read_units(size, is_consistent=True) == units
    assert read_units(size) == units / 2
