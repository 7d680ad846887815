"""One item of a DynamoDB table in memory: the part of UpdateItem that the rate limiters use."""

import operator
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from botocore.exceptions import ClientError

_CLAUSE: Final = re.compile(r"(SET|REMOVE|ADD) (.*?)(?= SET | REMOVE | ADD |$)")
_COMPARISON: Final = re.compile(r"(size\()?([\w.]+)\)? (=|<=|<|>|>=) (:\w+)")
_EXISTS: Final = re.compile(r"attribute_(not_)?exists\(([\w.]+)\)")
_COMMA: Final = re.compile(r", (?![^()]*\))")
_DEFAULT: Final = re.compile(r"if_not_exists\((\w+), (:\w+)\)")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RateLimitItem:
    """A DynamoDB client whose only table has one item."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        """Integers, maps of integers, and sets of text."""
        self.writes = 0
        """Writes whose condition failed count too: DynamoDB charges the same for them."""

    def get_item(self, **_: object) -> dict[str, Any]:
        """Return the item."""
        return {"Item": {name: _typed(value) for name, value in self.values.items()}}

    def update_item(
        self,
        *,
        UpdateExpression: str,  # noqa: N803 - botocore's names, here and below
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeValues: Mapping[str, Any] | None = None,  # noqa: N803
        **_: object,
    ) -> dict[str, Any]:
        """Write atomically, and return the item as it was before.

        Raises ClientError when the condition does not hold, and AttributeError or LookupError for
        an expression that the limiters do not use.
        """
        self.writes += 1
        given = {name: _plain(value) for name, value in (ExpressionAttributeValues or {}).items()}
        before = {name: _typed(value) for name, value in self.values.items()}
        conditions = ConditionExpression.split(" AND ") if ConditionExpression else []
        if not all(self._holds(condition, given) for condition in conditions):
            reply: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": before}
            raise ClientError(reply, "UpdateItem")
        after = deepcopy(self.values)
        for verb, actions in _CLAUSE.findall(UpdateExpression):
            for action in _COMMA.split(actions):
                parent, name = _parent(after, action.split(" ")[0])
                if verb == "REMOVE":
                    parent.pop(name, None)
                elif verb == "ADD":
                    parent[name] = _added(parent.get(name), given[action.split(" ")[1]])
                else:
                    parent[name] = self._computed(action.partition(" = ")[2], given)
        self.values = after
        return {"Attributes": before}

    def _holds(self, condition: str, given: Mapping[str, Any]) -> bool:
        if condition.startswith("("):
            condition = condition[1:-1]
        return any(self._is_true(part, given) for part in condition.split(" OR "))

    def _is_true(self, part: str, given: Mapping[str, Any]) -> bool:
        if exists := _EXISTS.fullmatch(part):
            return (self._read(exists[2]) is None) == bool(exists[1])
        size, path, compared, name = _COMPARISON.fullmatch(part).groups()  # type: ignore[union-attr] # None raises
        value = self._read(path)
        if value is None:
            return False
        return _COMPARE[compared](len(value) if size else value, given[name])

    def _computed(self, value: str, given: Mapping[str, Any]) -> Any:
        if default := _DEFAULT.fullmatch(value):
            return self.values.get(default[1], given[default[2]])
        first, _, second = value.partition(" + ")
        return self.values[first] + given[second] if second else deepcopy(given[value])

    def _read(self, path: str) -> Any:
        parent, name = _parent(self.values, path)
        return parent.get(name)


def _parent(values: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the map that contains the end of a path, and the last name of the path."""
    first, _, name = path.partition(".")
    return (values.get(first, {}), name) if name else (values, first)


def _added(before: Any, more: Any) -> Any:
    if isinstance(more, set):
        return (before or set()) | more
    return (before or 0) + more


def _plain(value: Mapping[str, Any]) -> Any:
    if "M" in value:
        return {name: _plain(one) for name, one in value["M"].items()}
    return set(value["SS"]) if "SS" in value else int(value["N"])


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"M": {name: _typed(one) for name, one in value.items()}}
    return {"SS": sorted(value)} if isinstance(value, set) else {"N": str(value)}
