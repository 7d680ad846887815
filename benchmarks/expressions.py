"""DynamoDB's conditions and updates on an item's plain values, each parsed once."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

Values = dict[str, Any]
"""Text, integers, maps of these, and sets of text."""
Given = Mapping[str, Any]
"""The values of an expression, by their names, such as `:now`."""
Names = Mapping[str, str]
"""The attributes that an expression means by names such as `#status`."""

_Path = tuple[str, ...]
_Read = Callable[[Values, Given], Any]
_Holds = Callable[[Values, Given], bool]
_Change = Callable[[Values, Values, Given], None]
"""What an action of an update does to the new values, from the values before."""

_TOKEN: Final = re.compile(r"\s*(<>|<=|>=|[=<>(),+-]|[:#]?\w[\w.#-]*)")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NO_NAMES: Final[Names] = {}


def holds(condition: str, values: Values, given: Given, names: Names = _NO_NAMES) -> bool:
    """Evaluate a condition, or an empty text, on an item; ValueError for what is not understood."""
    if not condition:
        return True
    return _condition(condition, tuple(names.items()))(values, given)


def updated(expression: str, values: Values, given: Given, names: Names = _NO_NAMES) -> Values:
    """Return what an update makes of an item, which stays as it is.

    Raises ValueError for what is not understood, and for what DynamoDB refuses: a sum with an
    attribute that is not there, and a change within a map that is not there.
    """
    after = dict(values)
    for change in _update(expression, tuple(names.items())):
        change(after, values, given)
    return after


@lru_cache(4096)
def _condition(text: str, names: tuple[tuple[str, str], ...]) -> _Holds:
    parser = _Parser(text, dict(names))
    parsed = parser.any_of()
    parser.end()
    return parsed


@lru_cache(4096)
def _update(text: str, names: tuple[tuple[str, str], ...]) -> tuple[_Change, ...]:
    parser = _Parser(text, dict(names))
    parsed = tuple(parser.changes())
    parser.end()
    return parsed


class _Parser:
    """Reads an expression from left to right; each method returns a function that evaluates it."""

    def __init__(self, text: str, names: Names) -> None:
        self._text, self._names = text, names
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise self._error()

    def end(self) -> None:
        if self._tokens:
            raise self._error()

    def any_of(self) -> _Holds:
        parts = [self._all_of()]
        while self._takes("OR"):
            parts.append(self._all_of())
        return lambda values, given: any(part(values, given) for part in parts)

    def _all_of(self) -> _Holds:
        parts = [self._one()]
        while self._takes("AND"):
            parts.append(self._one())
        return lambda values, given: all(part(values, given) for part in parts)

    def _one(self) -> _Holds:
        if self._takes("NOT"):
            part = self._one()
            return lambda values, given: not part(values, given)
        if self._takes("("):
            part = self.any_of()
            self._expect(")")
            return part
        if self._peek() in {"attribute_exists", "attribute_not_exists"}:
            return self._existence(is_there=self._next() == "attribute_exists")
        if self._takes("begins_with"):
            self._expect("(")
            value, prefix = self._two_of(",", ")")
            return lambda values, given: _begins(value(values, given), prefix(values, given))
        return self._comparison()

    def _existence(self, *, is_there: bool) -> _Holds:
        self._expect("(")
        path = self._path()
        self._expect(")")
        return lambda values, _: (_read(values, path) is not None) is is_there

    def _two_of(self, between: str, after: str) -> tuple[_Read, _Read]:
        first = self._operand()
        self._expect(between)
        second = self._operand()
        if after:
            self._expect(after)
        return first, second

    def _comparison(self) -> _Holds:
        value = self._operand()
        if self._takes("BETWEEN"):
            low, high = self._two_of("AND", "")
            return lambda values, given: (
                _compared("<=", low(values, given), value(values, given))
                and _compared("<=", value(values, given), high(values, given))
            )
        if self._takes("IN"):
            return self._membership(value)
        sign = self._next()
        if sign not in _COMPARE:
            raise self._error()
        other = self._operand()
        return lambda values, given: _compared(sign, value(values, given), other(values, given))

    def _membership(self, value: _Read) -> _Holds:
        self._expect("(")
        options = [self._operand()]
        while self._takes(","):
            options.append(self._operand())
        self._expect(")")
        return lambda values, given: any(
            _compared("=", value(values, given), option(values, given)) for option in options
        )

    def _operand(self) -> _Read:
        if self._takes("size"):
            self._expect("(")
            sized = self._path()
            self._expect(")")
            return lambda values, _: _size(_read(values, sized))
        if self._peek().startswith(":"):
            name = self._next()
            return lambda _, given: given[name]
        path = self._path()
        return lambda values, _: _read(values, path)

    def changes(self) -> Iterator[_Change]:
        verbs = {
            "SET": self._assignment,
            "REMOVE": self._removal,
            "ADD": self._addition,
            "DELETE": self._subtraction,
        }
        while self._tokens:
            verb = self._next()
            if verb not in verbs:
                raise self._error()
            yield verbs[verb]()
            while self._takes(","):
                yield verbs[verb]()

    def _assignment(self) -> _Change:
        path = self._path()
        self._expect("=")
        value = self._term()
        if self._peek() in {"+", "-"}:
            sign, first, second = self._next(), value, self._term()

            def value(values: Values, given: Given) -> Any:
                return _sum(first(values, given), second(values, given), sign)

        def assign(after: Values, before: Values, given: Given) -> None:
            computed = value(before, given)
            if computed is None:
                raise ValueError(f"{path} is set to an attribute that is not there")
            _parent(after, path)[path[-1]] = computed

        return assign

    def _term(self) -> _Read:
        if not self._takes("if_not_exists"):
            return self._operand()
        self._expect("(")
        path = self._path()
        self._expect(",")
        default = self._term()
        self._expect(")")

        def value(values: Values, given: Given) -> Any:
            found = _read(values, path)
            return default(values, given) if found is None else found

        return value

    def _removal(self) -> _Change:
        path = self._path()

        def remove(after: Values, _: Values, __: Given) -> None:
            if _read(after, path) is not None:
                _parent(after, path).pop(path[-1])

        return remove

    def _addition(self) -> _Change:
        path, more = self._path(), self._operand()

        def add(after: Values, before: Values, given: Given) -> None:
            found, added = _read(before, path), more(before, given)
            total = (found or set()) | added if isinstance(added, set) else (found or 0) + added
            _parent(after, path)[path[-1]] = total

        return add

    def _subtraction(self) -> _Change:
        path, less = self._path(), self._operand()

        def subtract(after: Values, before: Values, given: Given) -> None:
            left = (_read(before, path) or set()) - less(before, given)
            parent = _parent(after, path)
            if left:
                parent[path[-1]] = left
            else:
                parent.pop(path[-1], None)

        return subtract

    def _path(self) -> _Path:
        parts = self._next().split(".")
        if not all(re.fullmatch(r"#?\w[\w-]*", part) for part in parts):
            raise self._error()
        return tuple(self._names[part] if part.startswith("#") else part for part in parts)

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _next(self) -> str:
        if not self._tokens:
            raise self._error()
        token: str = self._tokens.pop(0)
        return token

    def _takes(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            raise self._error()

    def _error(self) -> ValueError:
        return ValueError(f"this expression is not understood: {self._text}")


def _read(values: Values, path: _Path) -> Any:
    found: Any = values
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _parent(values: Values, path: _Path) -> Values:
    """Return the map that has the end of a path, after a copy of each map on the way."""
    for name in path[:-1]:
        if not isinstance(values.get(name), dict):
            raise ValueError(f"there is no map for {'.'.join(path)}")  # noqa: TRY004 - as DynamoDB
        values[name] = dict(values[name])
        values = values[name]
    return values


def _compared(sign: str, value: Any, other: Any) -> bool:
    """Compare two values; what is not there, or of another type, is never less nor equal."""
    if value is None or other is None:
        return False
    if type(value) is not type(other):
        return sign == "<>"
    return _COMPARE[sign](value, other)


def _begins(value: Any, prefix: Any) -> bool:
    return isinstance(value, str) and value.startswith(prefix)


def _size(value: Any) -> int | None:
    return None if value is None else len(value)


def _sum(first: Any, second: Any, sign: str) -> int:
    if first is None or second is None:
        raise ValueError("a sum with an attribute that is not there")
    total: int = first + second if sign == "+" else first - second
    return total
