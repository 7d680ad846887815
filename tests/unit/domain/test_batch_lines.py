"""The lines of a batch: how a file is cut, and what is an error of the file or of one line."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd3.domain import batch_lines
from sd3.domain.batch_lines import (
    MAX_LINE_BYTES,
    MAX_LINES,
    BatchLine,
    LineError,
    lines_of,
    parse_line,
    split,
)
from sd3.domain.request import GenerateRequest
from sd3.errors import InvalidJsonError, InvalidRequestError, TooLargeError

LINE: Final = {"custom_id": "a", "prompt": "a fox"}
OPENAI: Final = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/images/generations",
    "body": {"model": "gpt-image-1", "prompt": "a fox"},
}


def jsonl(count: int) -> bytes:
    return b"".join(b'{"custom_id":"%d","prompt":"a fox"}\n' % number for number in range(count))


def read_all(file: bytes, chunks: Iterable[bytes] | None = None) -> list[tuple[int, bytes]]:
    """Read every line as the service does: in ranges of a file that is read in chunks."""
    return [
        line
        for of in split([file] if chunks is None else chunks)
        for line in lines_of(file[of.offset : of.offset + of.length], of)
    ]


def read(line: object, *, max_images: int | None = None) -> BatchLine | LineError:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return parse_line(text, 7, max_images=max_images)


def errors_of(line: object) -> dict[str, str]:
    """Read a line that is wrong; return the types of its errors by the names of the fields."""
    error = read(line)
    assert isinstance(error, LineError)
    return {".".join(map(str, one.loc[1:])): one.type for one in error.detail}


# ---- The file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        (b"{}", [(1, b"{}")]),
        (b"{}\n[]\n", [(1, b"{}"), (2, b"[]")]),
        (b"{}\r\n[]\r\n", [(1, b"{}\r"), (2, b"[]\r")]),
        (b"\xef\xbb\xbf{}\n[]", [(1, b"{}"), (2, b"[]")]),
        (b"{}\n\n  \t\n[]\n \n\n", [(1, b"{}"), (4, b"[]")]),
        (b"\n\xef\xbb\xbf\n", [(2, b"\xef\xbb\xbf")]),
    ],
    ids=["no-newline-at-the-end", "plain", "crlf", "bom", "blank-lines", "bom-elsewhere"],
)
def test_lines_have_the_numbers_that_an_editor_shows(
    file: bytes, lines: list[tuple[int, bytes]]
) -> None:
    assert read_all(file) == lines


PIECES = st.sampled_from([b"\n", b"\r\n", b"{}", b" ", b"\xef\xbb\xbf", b"x" * 9, b"y" * 30])


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 200), max_size=10))
def test_ranges_have_every_line_once_wherever_the_chunks_end(
    pieces: list[bytes], cuts: list[int]
) -> None:
    file = b"".join(pieces)
    body = file.removeprefix(b"\xef\xbb\xbf")
    expected = [(n, text) for n, text in enumerate(body.split(b"\n"), 1) if text.strip()]
    ends = sorted({min(cut, len(file)) for cut in cuts} | {0, len(file)})
    chunks = [file[a:b] for a, b in pairwise(ends)]
    with pytest.MonkeyPatch.context() as small:
        for name, value in {"MAX_LINE_BYTES": 20, "RANGE_BYTES": 25, "RANGE_LINES": 3}.items():
            small.setattr(batch_lines, name, value)
        small.setattr(batch_lines, "_KEPT_BYTES", 24)
        if not expected:
            with pytest.raises(InvalidRequestError, match="no lines"):
                split(chunks)
            return
        ranges = split(chunks)
        assert ranges == split([file])
        assert read_all(file, chunks) == expected
        assert sum(of.lines for of in ranges) == len(expected)
        assert [of.first for of in ranges if of.is_too_long] == [
            number for number, text in expected if len(text) > 20
        ]
        assert all(of.is_too_long or (of.lines <= 3 and of.length <= 25) for of in ranges)


def test_a_line_that_is_too_long_keeps_no_other_line_from_its_range() -> None:
    long = b'{"custom_id": "0", "prompt": "%s"}' % (b"x" * 1_000_000)
    ranges = split([jsonl(2), long, b"\n", b'{"custom_id": "z"}'])
    assert [(of.first, of.lines, of.is_too_long) for of in ranges] == [
        (1, 2, False),
        (3, 1, True),
        (4, 1, False),
    ]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("size", [MAX_LINE_BYTES, MAX_LINE_BYTES + 1])
def test_a_line_may_have_so_many_bytes(bom: bytes, size: int) -> None:
    line = json.dumps(LINE).encode().ljust(size)
    found = split([bom + line + b"\n{}"])
    assert [of.is_too_long for of in found] == (
        [False] if size == MAX_LINE_BYTES else [True, False]
    )
    assert isinstance(read(line), LineError if found[0].is_too_long else BatchLine)


def test_a_file_has_at_most_10000_lines_and_blank_ones_after_them() -> None:
    full = jsonl(MAX_LINES)
    assert sum(of.lines for of in split([full, b"\r\n" * 1000, b" " * 100_000])) == MAX_LINES
    for more in (b"{}", b"\n\n{}", b" " * 100_000 + b"{}"):
        with pytest.raises(InvalidRequestError, match="more than 10000 lines"):
            split([full, more])


@pytest.mark.parametrize("file", [b"", b"\n\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_lines_is_an_error(file: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="no lines"):
        split([file])


def test_a_file_of_another_encoding_is_one_error_and_not_one_each_line() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(InvalidJsonError, match="UTF-16"):
            split([("\ufeff" + jsonl(3).decode()).encode(encoding)])


def test_a_file_is_read_no_further_than_50_mb() -> None:
    chunks = iter([b"x" * 10_000_000] * 7)
    with pytest.raises(TooLargeError, match="50000000 bytes"):
        split(chunks)
    assert len(list(chunks)) == 1


def test_a_custom_id_that_is_there_twice_names_both_lines() -> None:
    file = jsonl(3) + b"not json\n[1]\n\n" + b'{"custom_id": "\\u0031", "prompt": ""}\r\n'
    with pytest.raises(InvalidRequestError) as caught:
        split([file])
    assert caught.value.message == "Lines 2 and 7 have the same custom_id."


# ---- A line --------------------------------------------------------------------------------------


def test_a_line_is_a_request_with_a_custom_id() -> None:
    line = {**LINE, "steps": 20, "init_image_id": "0" * 32, "webhook": {"url": "https://a.io/b"}}
    assert read(line) == BatchLine(
        7, "a", GenerateRequest.from_values({k: v for k, v in line.items() if k != "custom_id"})
    )


def test_a_line_of_openais_batch_api_is_translated() -> None:
    body = {**OPENAI["body"], "n": 2, "size": "512x512", "quality": "hd", "user": None}  # type: ignore[dict-item]
    asked = GenerateRequest(prompt="a fox", num_images=2)
    assert read({**OPENAI, "body": body}) == BatchLine(
        7, "a", asked, (512, 512), ("model", "quality")
    )


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (b"{", "invalid_json", "The line is not JSON"),
        (b'"\xff"', "invalid_json", "not in UTF-8"),
        (b'{"custom_id": "a", "prompt": "x", "cfg_scale": NaN}', "invalid_json", "not JSON"),
        (b'{"custom_id": "a", "prompt": "x", "prompt": "y"}', "invalid_json", "a field twice"),
        (b"{} {}", "invalid_json", "not JSON"),
        (b"[" * 5000, "invalid_json", "not JSON"),
        (b"x" * 1_000_000, "too_large", "more than 65536 bytes"),
    ],
)
def test_a_line_that_cannot_be_read_has_the_error_of_a_body(
    text: bytes, code: str, message: str
) -> None:
    error = read(text)
    assert isinstance(error, LineError)
    assert (error.number, error.custom_id, error.code) == (7, None, code)
    assert message in error.message


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ([LINE], {"": "dict_type"}),
        (None, {"": "dict_type"}),
        ({"prompt": "x"}, {"custom_id": "missing"}),
        ({**LINE, "custom_id": None}, {"custom_id": "missing"}),
        ({**LINE, "custom_id": 17}, {"custom_id": "string_type"}),
        ({**LINE, "custom_id": ""}, {"custom_id": "string_length"}),
        ({**LINE, "custom_id": "x" * 257}, {"custom_id": "string_length"}),
        ({"custom_id": "a"}, {"prompt": "missing"}),
        ({**LINE, "stepz": 3}, {"stepz": "extra_forbidden"}),
        ({"prompt": "", "steps": 0}, {
            "custom_id": "missing", "prompt": "string_too_short", "steps": "greater_than_equal",
        }),
        ({**LINE, "init_image": "AAAA"}, {"init_image": "init_image"}),
        ({**LINE, "init_image_url": "https://a.io/b.png"}, {"init_image_url": "init_image_url"}),
        ({**LINE, "response_format": "b64_json"}, {"response_format": "response_format"}),
        ({**LINE, "dry_run": True, "num_images": 17}, {
            "dry_run": "dry_run", "num_images": "less_than_equal",
        }),
        ({**OPENAI, "prompt": "x"}, {"prompt": "extra_forbidden"}),
        ({**OPENAI, "method": "GET", "custom_id": None}, {
            "custom_id": "missing", "method": "method",
        }),
        ({**OPENAI, "url": "/v1/images/edits"}, {"url": "url"}),
        ({**OPENAI, "body": "a fox"}, {"body": "dict_type"}),
        ({"custom_id": "a", "body": {"prompt": "x"}}, {"method": "method", "url": "url"}),
        ({**OPENAI, "body": {}}, {"body.prompt": "missing"}),
        ({**OPENAI, "body": {"prompt": "x", "n": 17}}, {"body.n": "less_than_equal"}),
        ({**OPENAI, "body": {"prompt": "x", "size": "9x9"}}, {"body.size": "invalid_value"}),
        ({**OPENAI, "body": {"prompt": "x", "stream": True}}, {"body.stream": "stream"}),
        ({**OPENAI, "body": {"prompt": "x", "response_format": "b64_json"}}, {
            "body.response_format": "response_format",
        }),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_names_every_field(line: object, wrong: dict[str, str]) -> None:
    assert errors_of(line) == wrong


@pytest.mark.parametrize("unsaid", [{"dry_run": False}, {"response_format": "url"}])
def test_a_line_may_say_what_happens_anyway(unsaid: dict[str, Any]) -> None:
    assert isinstance(read({**LINE, **unsaid}), BatchLine)


def test_an_error_has_the_custom_id_of_its_line_if_that_is_one() -> None:
    assert read({**LINE, "steps": 0})[1] == "a"
    assert read({**LINE, "custom_id": 17})[1] is None


def test_a_clients_most_images_hold_for_each_line() -> None:
    error = read({**LINE, "num_images": 3}, max_images=2)
    assert isinstance(error, LineError)
    assert "less than or equal to 2 for this client" in error.detail[0].msg


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NEAR_LINES: Final = st.dictionaries(
    st.sampled_from([*OPENAI, *GenerateRequest.model_fields]), JSON, max_size=6
).map(lambda values: {**LINE, **values})


@given(st.binary(max_size=50) | NEAR_LINES | JSON)
def test_any_line_is_a_request_or_an_error(line: object) -> None:
    error = read(line)
    if isinstance(error, LineError):
        assert error.code in {"invalid_json", "validation_error"}
        assert error.code == "invalid_json" or error.detail
