"""Names under which browsers save images, and the header that tells them (RFC 6266)."""

import re
from typing import Final
from urllib.parse import quote

from pydantic_core import PydanticCustomError

MAX_NAME: Final = 100

_FORBIDDEN: Final = frozenset('/\\:*?"<>|')
"""Parts of a path, and what Windows takes in no name."""

_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that are devices of Windows, with any extension."""

_EXTENSIONS: Final = {
    "image/jpeg": ("jpg", "jpeg"),
    "image/png": ("png",),
    "image/webp": ("webp",),
    "image/avif": ("avif",),
}
"""The extensions of each type. The first one is added to a name that has none of them."""


def check_name(name: str) -> str:
    """Return a name that is safe on every system. Raises PydanticCustomError for any other.

    Control characters, and those that change the direction of a text, are not printable.
    """
    if wrong := _wrong(name):
        raise PydanticCustomError("file_name", "{reason}", {"reason": f"Input should {wrong}"})
    return name


def _wrong(name: str) -> str | None:
    if not name.isprintable():
        return "have printable characters and spaces only"
    if not _FORBIDDEN.isdisjoint(name):
        return f"be a name without {' '.join(sorted(_FORBIDDEN))}"
    if name != name.strip(" .") or not name:
        return "neither begin nor end with a dot or a space"
    return "not be the name of a device" if _DEVICES.fullmatch(name) else None


def content_disposition(name: str, content_type: str) -> str:
    """Make the header that saves an image of this type under `name`.

    Clients that do not know filename* get a name in ASCII.
    """
    name = _with_extension(name, content_type)
    plain = "".join(each if each.isascii() and each != "%" else "_" for each in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _with_extension(name: str, content_type: str) -> str:
    """Add the extension of a type, in place of that of another type."""
    right = _EXTENSIONS[content_type]
    stem, dot, extension = name.rpartition(".")
    if dot and extension.lower() in right:
        return name
    is_wrong = dot and any(extension.lower() in each for each in _EXTENSIONS.values())
    return f"{stem if is_wrong else name}.{right[0]}"
