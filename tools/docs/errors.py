"""The table of the errors in sd3/errors.py."""

from collections.abc import Iterator
from inspect import getdoc

from sd3.errors import Sd3Error
from tools.docs.markdown import code, table


def errors_table(root: type[Sd3Error] = Sd3Error) -> str:
    """Make the table of an error and of all that derive from it, each below its base."""
    rows = [
        [
            code(error.__name__),
            code(parent.__name__) if parent else "",
            str(error.status),
            code(error.code),
            _yes(error.retryable),
            _yes(error.may_have_charged),
            getdoc(error) or "",
        ]
        for parent, error in _tree(None, root)
    ]
    header = ["error", "is a", "status", "code", "retryable", "may be charged", "meaning"]
    return table(header, rows)


def _tree(
    parent: type[Sd3Error] | None, error: type[Sd3Error]
) -> Iterator[tuple[type[Sd3Error] | None, type[Sd3Error]]]:
    yield parent, error
    for derived in error.__subclasses__():
        yield from _tree(error, derived)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
