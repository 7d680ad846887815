"""The table of the routes in openapi.json."""

from collections.abc import Mapping
from typing import Any

from tools.docs.markdown import code, table

Json = Mapping[str, Any]


def routes_table(document: Json) -> str:
    """Make the table of a document's routes, in their order."""
    rows = [
        [
            code(f"{method.upper()} {path}"),
            operation["summary"],
            "no" if operation.get("security") == [] else "yes",
            ", ".join(status for status in operation["responses"] if _is_success(status)),
            ", ".join(status for status in operation["responses"] if not _is_success(status)),
        ]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    return table(["route", "what it does", "token", "success", "errors"], rows)


def _is_success(status: str) -> bool:
    return status < "400"
