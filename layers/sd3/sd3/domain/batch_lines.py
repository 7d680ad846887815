"""The JSONL of a batch: its lines, cut into ranges of bytes, and the request of each line."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

import pydantic_core

from sd3.domain.json_body import parse_json
from sd3.domain.openai_images import OPENAI_NAMES, ImagesRequest
from sd3.domain.request import MAX_BATCH_BYTES, GenerateRequest
from sd3.domain.request_checks import body_error
from sd3.errors import (
    FieldError,
    InvalidJsonError,
    InvalidRequestError,
    RequestError,
    TooLargeError,
)

MAX_LINES: Final = 10_000
MAX_LINE_BYTES: Final = 65_536
MAX_CUSTOM_ID: Final = 256

RANGE_LINES: Final = 100
RANGE_BYTES: Final = 1_000_000
"""The most lines and bytes of a range, which is one message and one read."""

OPENAI_URL: Final = "/v1/images/generations"

_OPENAI_FIELDS: Final = ("custom_id", "method", "url", "body")
"""The fields of a line in the shape of OpenAI's Batch API. A request of ours has but the first."""

_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_KEPT_BYTES: Final = len(_BOM) + MAX_LINE_BYTES + 1


class LineRange(NamedTuple):
    """Lines of the file that are read together: `length` bytes from `offset` on.

    `lines` counts those that hold something. They are numbered from `first`, as in an editor:
    blank lines have numbers too.
    """

    first: int
    lines: int
    offset: int
    length: int

    @property
    def is_too_long(self) -> bool:
        """Whether it is one line with more bytes than a line may have. It need not be read."""
        return self.lines == 1 and self.length > MAX_LINE_BYTES


class BatchLine(NamedTuple):
    """A line that can be generated.

    `ignored` names the fields of OpenAI's request that are not followed, and `scaled_size` is what
    its `size` asks for beside the sizes of the model.
    """

    number: int
    custom_id: str
    request: GenerateRequest
    scaled_size: tuple[int, int] | None = None
    ignored: tuple[str, ...] = ()


class LineError(NamedTuple):
    """A line that is not generated: the error as POST /generate/sd3 would tell it."""

    number: int
    custom_id: str | None
    code: str
    message: str
    detail: tuple[FieldError, ...] = ()

    @classmethod
    def of(cls, number: int, custom_id: str | None, error: RequestError) -> Self:
        """Make the error of a line from that of its request."""
        detail = error.field_errors if isinstance(error, InvalidRequestError) else ()
        return cls(number, custom_id, error.code, error.message, detail)


# ---- The file ------------------------------------------------------------------------------------


def split(chunks: Iterable[bytes]) -> list[LineRange]:
    """Cut a file, which comes in chunks of any size, into ranges. Blank lines are in none.

    A line that is too long is a range of its own. Raises InvalidRequestError for a file without
    lines or with too many, and for a custom_id that is there twice; InvalidJsonError for UTF-16;
    TooLargeError.
    """
    ranges: list[LineRange] = []
    numbers: dict[str, int] = {}
    for number, start, end, text in _lines(chunks):
        line = LineRange(number, 1, start, end - start)
        if not line.is_too_long:
            if not text.strip():
                continue
            _note_custom_id(numbers, number, text)
        joined = _joined(ranges[-1], line) if ranges else None
        if joined:
            ranges[-1] = joined
        else:
            ranges.append(line)
    if not ranges:
        raise _invalid_file("The file has no lines.", "too_short")
    return ranges


def lines_of(data: bytes, of: LineRange) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the text of each line of a range, of which `data` has all bytes."""
    for number, text in enumerate(data.split(b"\n"), of.first):
        if text.strip():
            yield number, text


def _joined(one: LineRange, line: LineRange) -> LineRange | None:
    """Return a range with the line after it; None if it has no room for the line."""
    length = line.offset + line.length - one.offset
    has_room = one.lines < RANGE_LINES and length <= RANGE_BYTES
    if not has_room or one.is_too_long or line.is_too_long:
        return None
    return one._replace(lines=one.lines + 1, length=length)


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield each line's number, its first byte, its end, and its text without the newline.

    What is after the last line that a file may have is blank. The text of a line that is too long
    is cut off. A mark at the file's begin (BOM) belongs to no line.
    """
    number, start, end, kept = 1, 0, 0, b""
    for chunk in _bounded(chunks):
        *pieces, rest = chunk.split(b"\n", MAX_LINES + 1 - number)
        for piece in pieces:
            end += len(piece)
            yield _without_bom(number, start, end, (kept + piece)[:_KEPT_BYTES])
            number, start, end, kept = number + 1, end + 1, end + 1, b""
        if number > MAX_LINES and rest.strip():
            raise _invalid_file(f"The file has more than {MAX_LINES} lines.", "too_long")
        end += len(rest)
        kept = (kept + rest)[:_KEPT_BYTES]
    if number <= MAX_LINES:
        yield _without_bom(number, start, end, kept)


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_BATCH_BYTES:
            raise TooLargeError(f"The file has more than {MAX_BATCH_BYTES} bytes.")
        yield chunk


def _without_bom(number: int, start: int, end: int, text: bytes) -> tuple[int, int, int, bytes]:
    if number > 1:
        return number, start, end, text
    if text.startswith(_UTF16):
        raise InvalidJsonError("The file is in UTF-16. Save it in UTF-8.")
    found = len(_BOM) if text.startswith(_BOM) else 0
    return number, start + found, end, text[found:]


def _note_custom_id(numbers: dict[str, int], number: int, text: bytes) -> None:
    """Note whose custom_id it is. A line that cannot be read is an error of its own, later."""
    try:
        values = pydantic_core.from_json(text)
    except ValueError:
        return
    custom_id = values.get("custom_id") if isinstance(values, dict) else None
    if isinstance(custom_id, str):
        first = numbers.setdefault(custom_id, number)
        if first != number:
            msg = f"Lines {first} and {number} have the same custom_id."
            raise _invalid_file(msg, "repeated")


def _invalid_file(msg: str, kind: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body",), msg, kind)], message=msg)


# ---- A line --------------------------------------------------------------------------------------


def parse_line(text: bytes, number: int, *, max_images: int | None) -> BatchLine | LineError:
    """Read a line, of a client who may ask for so many images in one request.

    It is a request of POST /generate/sd3 with a custom_id, or a line of OpenAI's Batch API.
    """
    if len(text) > MAX_LINE_BYTES:
        return too_long(number)
    custom_id = None
    try:
        values = parse_json(text, what="line")
        if not isinstance(values, dict):
            raise InvalidRequestError([body_error((), "Input should be an object", "dict_type")])
        given = values.get("custom_id")
        custom_id = given if not _errors_of_id(values) else None
        read = _openai_line if set(_OPENAI_FIELDS[1:]) & set(values) else _own_line
        return read(number, values, max_images)
    except RequestError as error:
        return LineError.of(number, custom_id, error)


def too_long(number: int) -> LineError:
    """Make the error of a line that is too long to be read."""
    msg = f"The line has more than {MAX_LINE_BYTES} bytes."
    return LineError.of(number, None, TooLargeError(msg))


def _own_line(number: int, values: Mapping[str, Any], max_images: int | None) -> BatchLine:
    errors = [*_errors_of_id(values), *_errors_of_batch(values)]
    wrong = {error.loc[1] for error in errors}
    own = {n: value for n, value in values.items() if n != "custom_id" and n not in wrong}
    try:
        request = GenerateRequest.from_values(own, max_images=max_images)
    except InvalidRequestError as error:
        raise InvalidRequestError([*errors, *error.field_errors]) from error
    if errors:
        raise InvalidRequestError(errors)
    return BatchLine(number, values["custom_id"], request)


def _errors_of_id(values: Mapping[str, Any]) -> list[FieldError]:
    custom_id = values.get("custom_id")
    if custom_id is None:
        found = ("is missing: it names the line in the results", "missing")
    elif not isinstance(custom_id, str):
        found = ("Input should be a valid string", "string_type")
    elif not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        found = (f"should have 1 to {MAX_CUSTOM_ID} characters", "string_length")
    else:
        return []
    return [body_error(("custom_id",), *found)]


def _errors_of_batch(values: Mapping[str, Any]) -> Iterator[FieldError]:
    """Refuse what is for requests that are answered at once."""
    if values.get("init_image") is not None:
        msg = "is too large for a line: send it by POST /uploads, and name it in init_image_id"
        yield body_error(("init_image",), msg, "init_image")
    if values.get("init_image_url") is not None:
        yield body_error(("init_image_url",), "is for HTTP only", "init_image_url")
    if values.get("response_format") == "b64_json":
        msg = "should be url: the results of a batch hold no images"
        yield body_error(("response_format",), msg, "response_format")
    if values.get("dry_run") is True:
        msg = "is for HTTP only: POST /generate/sd3 tells the price"
        yield body_error(("dry_run",), msg, "dry_run")


def _openai_line(number: int, values: Mapping[str, Any], max_images: int | None) -> BatchLine:
    errors = [*_errors_of_id(values), *_errors_of_openai(values)]
    if errors:
        raise InvalidRequestError(errors)
    try:
        asked = ImagesRequest.from_values(
            {"response_format": "url", **values["body"]}, max_images=max_images, is_edit=False
        )
    except InvalidRequestError as error:
        raise InvalidRequestError([_in_body(one) for one in error.field_errors]) from error
    return BatchLine(
        number, values["custom_id"], asked.request, asked.delivery.scaled, asked.ignored
    )


def _errors_of_openai(values: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in values:
        if name not in _OPENAI_FIELDS:
            yield body_error((name,), "Extra inputs are not permitted", "extra_forbidden")
    if values.get("method") != "POST":
        yield body_error(("method",), "should be POST", "method")
    if values.get("url") != OPENAI_URL:
        yield body_error(("url",), f"should be {OPENAI_URL}", "url")
    body = values.get("body")
    if not isinstance(body, dict):
        yield body_error(("body",), "Input should be an object", "dict_type")
        return
    if body.get("response_format") == "b64_json":
        msg = "should be url: the results of a batch hold no images"
        yield body_error(("body", "response_format"), msg, "response_format")
    if body.get("stream") is True:
        yield body_error(("body", "stream"), "should be false: a batch streams nothing", "stream")


def _in_body(error: FieldError) -> FieldError:
    """Place the error of a field of ours where the line of OpenAI's has it."""
    rest = [OPENAI_NAMES.get(str(part), part) for part in error.loc[1:2]]
    return error._replace(loc=("body", "body", *rest, *error.loc[2:]))
