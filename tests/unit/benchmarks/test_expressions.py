"""Conditions and updates are evaluated as DynamoDB does, and what is not understood is refused."""

from typing import Any

import pytest

from benchmarks.expressions import Values, holds, updated

ITEM: Values = {"n": 5, "text": "2026-11", "tags": {"a", "b"}, "map": {"one": 1}}
GIVEN: Values = {":one": 1, ":five": 5, ":nine": 9, ":text": "2026", ":set": {"b", "c"}}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", True),
        ("n = :five", True),
        ("n <> :five", False),
        ("n < :five OR n >= :five", True),
        ("n = :five AND n = :one", False),
        ("(n = :one OR n = :five) AND NOT n = :nine", True),
        ("NOT n IN (:one, :nine)", True),
        ("n IN (:one, :five)", True),
        ("n BETWEEN :one AND :nine AND text = :text", False),
        ("begins_with(text, :text)", True),
        ("begins_with(n, :text)", False),
        ("attribute_exists(map.one)", True),
        ("attribute_not_exists(map.two)", True),
        ("attribute_exists(missing.one)", False),
        ("size(tags) <= :five", True),
        ("size(missing) <= :five", False),
        ("map.one = :one", True),
        ("#name = :five", True),
        ("missing < :five", False),
        ("missing <> :five", False),
        ("n < :text", False),
        ("n <> :text", True),
    ],
)
def test_conditions(condition: str, *, expected: bool) -> None:
    assert holds(condition, ITEM, GIVEN, {"#name": "n"}) is expected


@pytest.mark.parametrize(
    ("update", "changes"),
    [
        ("SET n = :one", {"n": 1}),
        ("SET n = n + :nine, text = :text", {"n": 14, "text": "2026"}),
        ("SET n = n - :one", {"n": 4}),
        ("SET n = if_not_exists(n, :one)", {}),
        ("SET m = if_not_exists(m, :one) + :nine", {"m": 10}),
        ("SET map.two = :nine REMOVE map.one", {"map": {"two": 9}}),
        ("REMOVE n, missing.one", {"n": None}),
        ("ADD n :one, m :nine", {"n": 6, "m": 9}),
        ("ADD tags :set, others :set", {"tags": {"a", "b", "c"}, "others": {"b", "c"}}),
        ("DELETE tags :set", {"tags": {"a"}}),
        ("ADD n :one SET #name = :text", {"n": 6, "t": "2026"}),
    ],
)
def test_updates_leave_the_item_as_it_was(update: str, changes: dict[str, Any]) -> None:
    before = {**ITEM, "map": dict(ITEM["map"])}
    expected = {name: value for name, value in (ITEM | changes).items() if value is not None}
    assert updated(update, ITEM, GIVEN, {"#name": "t"}) == expected
    assert before == ITEM


def test_what_a_set_has_lost_last_is_gone() -> None:
    assert updated("DELETE tags :all", ITEM, {":all": {"a", "b"}}).keys() == ITEM.keys() - {"tags"}


@pytest.mark.parametrize(
    "condition", ["n", "n ~ :one", "n =", "contains(tags, :one)", "n = :one n = :one", "(n = :one"]
)
def test_a_condition_that_is_not_understood_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        holds(condition, ITEM, GIVEN)


@pytest.mark.parametrize(
    "update", ["PUT n = :one", "SET n", "SET m = m + :one", "SET m = n2", "SET no.map = :one"]
)
def test_an_update_that_dynamodb_refuses_is_refused(update: str) -> None:
    with pytest.raises(ValueError, match=r"not|no map"):
        updated(update, ITEM, GIVEN)
