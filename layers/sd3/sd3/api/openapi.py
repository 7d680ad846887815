"""What the API says of itself: /openapi.json and /docs, files that `make openapi` writes."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from sd3.api.app import Response
from sd3.api.request import Request

_KEEP: Final = {"Cache-Control": "public, max-age=300"}

_NO_SCRIPTS: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def openapi(request: Request) -> Response:
    """Answer 200 with the OpenAPI document, or 304 to a client that has it."""
    return _document(request, "openapi.json", {"Content-Type": "application/json"})


def docs(request: Request) -> Response:
    """Answer 200 with the same document as a page, or 304 to a client that has it."""
    headers = {"Content-Type": "text/html; charset=utf-8", **_NO_SCRIPTS}
    return _document(request, "docs.html", headers)


def _document(request: Request, name: str, headers: dict[str, str]) -> Response:
    text, tag = _read(name)
    kept = {"ETag": tag, **_KEEP}
    if request.known_tags() & {tag, "*"}:
        return Response(304, headers=kept)
    return Response(200, headers=kept | headers, body=text)


@cache
def _read(name: str) -> tuple[str, str]:
    """A file and its entity tag."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
