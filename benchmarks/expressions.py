"""DynamoDB's conditions and updates on an item's plain values: as much of them as ours use."""

import operator
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

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

Values = dict[str, Any]
"""Text, integers, maps of these, and sets of text."""


def holds(condition: str, values: Values, given: Mapping[str, Any]) -> bool:
    """Evaluate a condition, or an empty text, on an item.

    Raises AttributeError or LookupError, as `updated` does, for an expression that is not ours.
    """
    parts = condition.split(" AND ") if condition else []
    return all(_any_holds(part, values, given) for part in parts)


def updated(expression: str, values: Values, given: Mapping[str, Any]) -> Values:
    """Return what an update makes of an item, which stays as it is."""
    after = deepcopy(values)
    for verb, actions in _CLAUSE.findall(expression):
        for action in _COMMA.split(actions):
            parent, name = _parent(after, action.split(" ")[0])
            if verb == "REMOVE":
                parent.pop(name, None)
            elif verb == "ADD":
                parent[name] = _added(parent.get(name), given[action.split(" ")[1]])
            else:
                parent[name] = _computed(action.partition(" = ")[2], values, given)
    return after


def _any_holds(part: str, values: Values, given: Mapping[str, Any]) -> bool:
    if part.startswith("("):
        part = part[1:-1]
    return any(_is_true(one, values, given) for one in part.split(" OR "))


def _is_true(part: str, values: Values, given: Mapping[str, Any]) -> bool:
    if exists := _EXISTS.fullmatch(part):
        return (_read(values, exists[2]) is None) == bool(exists[1])
    size, path, compared, name = _COMPARISON.fullmatch(part).groups()  # type: ignore[union-attr] # None raises
    value = _read(values, path)
    if value is None:
        return False
    return _COMPARE[compared](len(value) if size else value, given[name])


def _computed(value: str, values: Values, given: Mapping[str, Any]) -> Any:
    if default := _DEFAULT.fullmatch(value):
        return values.get(default[1], given[default[2]])
    first, _, second = value.partition(" + ")
    return values[first] + given[second] if second else deepcopy(given[value])


def _read(values: Values, path: str) -> Any:
    parent, name = _parent(values, path)
    return parent.get(name)


def _parent(values: Values, path: str) -> tuple[Values, str]:
    """Return the map that contains the end of a path, and the last name of the path."""
    first, _, name = path.partition(".")
    return (values.get(first, {}), name) if name else (values, first)


def _added(before: Any, more: Any) -> Any:
    if isinstance(more, set):
        return (before or set()) | more
    return (before or 0) + more
