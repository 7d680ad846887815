"""How bodies are read: media types, charsets, content codings, and how large they may be."""

import base64
import gzip
import zlib

import pytest

from sd3.api.body import MAX_BODY_BYTES, read_body
from sd3.errors import InvalidJsonError, RequestError, TooLargeError, UnsupportedMediaTypeError

PLAIN = b'{"prompt": "a fox, ein F\xc3\xbcchslein"}'


def deflated(data: bytes, window: int) -> bytes:
    stream = zlib.compressobj(wbits=window)
    return stream.compress(data) + stream.flush()


def read(
    data: bytes, *encodings: str, content_types: tuple[str, ...] = ("application/json",)
) -> bytes | str:
    """Read bytes as a gateway hands them on that takes bodies for binary."""
    text = base64.b64encode(data).decode()
    return read_body(text, is_base64=True, content_types=content_types, encodings=encodings)


@pytest.mark.parametrize(
    "content_types",
    [
        (),
        ("",),
        ("application/json",),
        ("Application/JSON ;charset=UTF-8",),
        ('application/json; charset="utf-8"',),
        ("application/json;charset=utf8; x=y",),
        ("application/json; charset=",),
        ("application/json, application/json",),
        ("application/json", "application/json; charset=utf-8"),
        ('application/json; profile="a,b"',),
        ("application/vnd.api+json",),
        ("application/problem+json; charset=us-ascii",),
    ],
)
def test_json_has_many_spellings(content_types: tuple[str, ...]) -> None:
    assert read(PLAIN, content_types=content_types) == PLAIN


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("text/plain", "application/json"),
        ("application/x-www-form-urlencoded", "application/json"),
        ("application/json-seq", "application/json"),
        ("text/vnd.x+json", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("json", "application/json"),
        ("application/json; charset=latin-1", "UTF-8"),
        ("application/json; charset=ISO-8859-1", "UTF-8"),
        ("application/json; Charset='utf-8'", "UTF-8"),
        ("application/json; charset=utf-16", "UTF-8"),
        ("application/json, application/json; charset=windows-1252", "UTF-8"),
    ],
)
def test_another_media_type_or_charset_is_refused_by_name(content_type: str, message: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=message):
        read(PLAIN, content_types=(content_type,))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(PLAIN), "gzip"),
        (gzip.compress(PLAIN), "X-GZip"),
        (gzip.compress(PLAIN), "identity, gzip"),
        (zlib.compress(PLAIN), "deflate"),
        (deflated(PLAIN, -15), "deflate"),
        (PLAIN, "identity"),
        (PLAIN, ""),
        (PLAIN, "UTF-8"),
        (PLAIN, "gzip"),
        (b"\xef\xbb\xbf\r\n" + PLAIN, "deflate"),
    ],
)
def test_a_body_is_inflated_unless_a_proxy_did_it_before(data: bytes, encoding: str) -> None:
    plain = read(data, encoding)
    assert isinstance(plain, bytes)
    assert plain.removeprefix(b"\xef\xbb\xbf\r\n") == PLAIN


@pytest.mark.parametrize(
    "encodings",
    [("br",), ("zstd",), ("aes128gcm",), ("gzip, gzip",), ("gzip", "deflate"), ("compress",),
     ("*",), ("gzip;q=1",)],
)  # fmt: skip
def test_a_coding_that_cannot_be_read_is_named(encodings: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        read(PLAIN, *encodings)
    assert f"Content-Encoding is {', '.join(encodings)}:" in caught.value.message


def test_a_name_of_a_coding_is_repeated_within_bounds() -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        read(PLAIN, "x" * 10_000)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_that_was_made_text_is_refused(encoding: str) -> None:
    data = gzip.compress(PLAIN) if encoding == "gzip" else zlib.compress(PLAIN)
    text = data.decode(errors="replace")
    with pytest.raises(UnsupportedMediaTypeError, match=encoding):
        read_body(text, is_base64=False, content_types=(), encodings=(encoding,))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (gzip.compress(PLAIN)[:-1], "gzip"),
        (gzip.compress(PLAIN)[:-8] + b"\0" * 8, "gzip"),
        (gzip.compress(PLAIN) + b"\0", "gzip"),
        (gzip.compress(PLAIN) * 2, "gzip"),
        (zlib.compress(PLAIN), "gzip"),
        (zlib.compress(PLAIN)[:-1], "deflate"),
        (b"\x78\x9c\xff", "deflate"),
        (b"\xff", "deflate"),
        (b"\x78", "deflate"),
        (b"hello", "gzip"),
    ],
)
def test_a_damaged_coding_is_said(data: bytes, encoding: str) -> None:
    with pytest.raises(InvalidJsonError, match=f"The body is not JSON: its {encoding} "):
        read(data, encoding)


@pytest.mark.parametrize(
    ("size", "error"), [(MAX_BODY_BYTES, None), (MAX_BODY_BYTES + 1, TooLargeError)]
)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_is_as_large_as_it_is_inflated(
    size: int, error: type[RequestError] | None, encoding: str
) -> None:
    data = b" " * size
    packed = gzip.compress(data) if encoding == "gzip" else zlib.compress(data)
    if error is None:
        assert len(read(packed, encoding)) == size
    else:
        with pytest.raises(error):
            read(packed, encoding)


def test_a_bomb_is_not_inflated_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    class Counted:
        def __init__(self, window: int) -> None:
            self._stream = real(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            plain = self._stream.decompress(data, most)
            lengths.append(len(plain))
            return plain

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    with pytest.raises(TooLargeError):
        read(gzip.compress(bytes(20 * MAX_BODY_BYTES), 1), "gzip")
    assert lengths == [MAX_BODY_BYTES + 1]
