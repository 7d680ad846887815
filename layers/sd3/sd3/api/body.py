"""The bytes of a request's body: the media types, charsets and content codings that are read."""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from sd3.errors import InvalidJsonError, TooLargeError, UnsupportedMediaTypeError

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""What Lambda accepts. On AWS a larger body never gets here, but a compressed one can."""

_ITEM: Final = re.compile(r'(?:[^,"]|"[^"]*"|")+')

_JSON: Final = re.compile(r"application/(?:json|[a-z0-9!#$&^_.-]+\+json)")
"""JSON, or a format whose name says that it is written in JSON (RFC 6839)."""

_CHARSETS: Final = frozenset(("", "utf-8", "utf8", "us-ascii", "ascii"))

_NO_CODINGS: Final = frozenset(("", "identity", "utf-8", "utf8"))
"""Names in Content-Encoding that change no byte; a charset there is a frequent mistake."""

_GZIP: Final = frozenset(("gzip", "x-gzip"))

_MAX_NAME: Final = 64
"""Most characters of a header that a message repeats."""


def read_body(
    body: str, *, is_base64: bool, content_types: Iterable[str], encodings: Iterable[str]
) -> bytes | str:
    """Return a JSON body of the gateway's event as the client wrote it: decoded and inflated.

    `content_types` and `encodings` are the values of Content-Type and Content-Encoding, which
    proxies merge or repeat. Raises UnsupportedMediaTypeError, TooLargeError, and InvalidJsonError
    for what no decoder can read.
    """
    _check_media_type(content_types)
    coding = _coding(encodings)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    if not is_base64:
        if coding and not _is_plain(body[:_MAX_NAME].encode(errors="replace")):
            # The gateway hands bodies on as text, and replaces the bytes that are none.
            msg = (
                f"The gateway cannot pass on a body in {coding}: send it without Content-Encoding."
            )
            raise UnsupportedMediaTypeError(msg)
        return body
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise InvalidJsonError("The body is not JSON.") from error
    # A proxy that inflates a body may leave the header as it was.
    return data if coding is None or _is_plain(data) else _inflated(data, coding)


def _check_media_type(values: Iterable[str]) -> None:
    for value in _items(values):
        media_type, *parameters = (part.strip().lower() for part in value.split(";"))
        if not _JSON.fullmatch(media_type):
            raise UnsupportedMediaTypeError("The body must be application/json.")
        for parameter in parameters:
            name, _, charset = parameter.partition("=")
            if name.strip() == "charset" and charset.strip(' "') not in _CHARSETS:
                msg = "The body must be UTF-8: send Content-Type: application/json alone."
                raise UnsupportedMediaTypeError(msg)


def _coding(values: Iterable[str]) -> str | None:
    """Return the one content coding of the body: gzip, deflate or None."""
    codings = [name for value in _items(values) if (name := value.lower()) not in _NO_CODINGS]
    match codings:
        case []:
            return None
        case ["deflate"]:
            return "deflate"
        case [name] if name in _GZIP:
            return "gzip"
    named = ", ".join(codings)[:_MAX_NAME]
    msg = f"The body's Content-Encoding is {named}: send it as it is, or in gzip or deflate alone."
    raise UnsupportedMediaTypeError(msg)


def _items(values: Iterable[str]) -> Iterator[str]:
    """Split header values at the commas outside of quotes."""
    items = (item.strip() for value in values for item in _ITEM.findall(value))
    return filter(None, items)


def _is_plain(data: bytes) -> bool:
    """Return whether an object of JSON begins here, as no stream of gzip or deflate does."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"", b"{"}


def _inflated(data: bytes, coding: str) -> bytes:
    is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
    # Some clients take deflate for what is inside of its zlib format (RFC 9110, 8.4.1.2).
    window = {"gzip": 31, "deflate": 15 if is_zlib else -15}[coding]
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise InvalidJsonError(f"The body is not JSON: its {coding} is damaged.") from error
    if len(plain) > MAX_BODY_BYTES:
        raise _too_large()
    if not stream.eof or stream.unused_data:
        raise InvalidJsonError(f"The body is not JSON: its {coding} does not end where it should.")
    return plain


def _too_large() -> TooLargeError:
    return TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
