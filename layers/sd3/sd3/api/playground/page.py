"""Puts the files of the playground together, with the policy that its browser enforces."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

STYLE: Final = "page.css"
SCRIPTS: Final = (
    *("core.js", "form.js", "results.js", "history.js"),
    *("upload.js", "verify.js", "snippets.js", "app.js"),
)
"""In the order in which they run. Each adds to the one object `playground` of the first."""

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Page(NamedTuple):
    """The document, and the sources of its scripts and its style for a policy."""

    html: str
    script_sources: tuple[str, ...]
    style_source: str

    def headers(self, images: str) -> dict[str, str]:
        """Return the headers, with which the page reaches this API and the origin `images`."""
        policy = (
            "default-src 'none'",
            f"script-src {' '.join(self.script_sources)}",
            f"style-src {self.style_source}",
            f"img-src 'self' data: blob: {images}",
            f"connect-src 'self' {images}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
        return {**_HEADERS, "Content-Security-Policy": "; ".join(policy)}


@cache
def page() -> Page:
    """Read the files and write scripts and style into the document, so that it is one answer."""
    style, scripts = _read(STYLE), tuple(map(_read, SCRIPTS))
    html = _read("page.html").replace("<style></style>", f"<style>{style}</style>")
    inline = "\n".join(f"<script>{script}</script>" for script in scripts)
    html = html.replace("<script></script>", inline)
    return Page(html, tuple(map(_source, scripts)), _source(style))


def _read(name: str) -> str:
    return (files("sd3.api.playground") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
