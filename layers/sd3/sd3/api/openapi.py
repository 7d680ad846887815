"""What the API says of itself: its OpenAPI document, and Swagger UI to read it and to try it."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from sd3.api.app import Response
from sd3.api.request import Request
from sd3.errors import NotFoundError

_SCRIPT: Final = "text/javascript; charset=utf-8"
_PLAIN: Final = "text/plain; charset=utf-8"
_PAGE_FILES: Final = {
    "swagger-initializer.js": ("docs/swagger-initializer.js", _SCRIPT),
    "swagger-ui-bundle.js": ("docs/swagger-ui/swagger-ui-bundle.js", _SCRIPT),
    "swagger-ui.css": ("docs/swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
    # The licences go where the code goes.
    "LICENSE": ("docs/swagger-ui/LICENSE", _PLAIN),
    "NOTICE": ("docs/swagger-ui/NOTICE", _PLAIN),
    "swagger-ui-bundle.js.LICENSE.txt": (
        "docs/swagger-ui/swagger-ui-bundle.js.LICENSE.txt",
        _PLAIN,
    ),
}
"""All that GET /docs/{file} serves: where it is in this package, and its Content-Type."""

_CACHED: Final = {"Cache-Control": "public, max-age=300"}
_ONLY_ITSELF: Final = {
    # All that Swagger UI needs, as Chromium's console says: its style sheet has images as data:
    # URLs, and it shows an image that a route answers as a blob: URL.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def openapi(request: Request) -> Response:
    """Answer 200 with the OpenAPI document, or 304 to a client that has it."""
    return _file(request, "openapi.json", {"Content-Type": "application/json"})


def docs(request: Request) -> Response:
    """Answer 200 with the page that shows the document, or 304 to a client that has it."""
    if request.event["path"].endswith("/"):  # from there the page's relative links lead nowhere
        return Response(302, headers={"Location": "../docs"})
    headers = {"Content-Type": "text/html; charset=utf-8", **_ONLY_ITSELF}
    return _file(request, "docs/index.html", headers)


def docs_file(request: Request) -> Response:
    """Answer 200 with a file of the page, 304 to a client that has it, or 404."""
    found = _PAGE_FILES.get(request.path["file"])
    if found is None:
        raise NotFoundError("The page has no such file.")
    path, content_type = found
    return _file(request, path, {"Content-Type": content_type, **_ONLY_ITSELF})


def _file(request: Request, path: str, headers: dict[str, str]) -> Response:
    text, tag = _read(path)
    cached = {"ETag": tag, **_CACHED}
    if request.known_tags() & {tag, "*"}:
        return Response(304, headers=cached)
    return Response(200, headers=cached | headers, body=text)


@cache
def _read(path: str) -> tuple[str, str]:
    """Read a file of this package, and make its entity tag."""
    text = (files("sd3.api") / path).read_text(encoding="utf-8")
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
