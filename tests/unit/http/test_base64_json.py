"""JSON with images in it, written and read without a copy."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sd3.domain.image import read_image
from sd3.errors import UpstreamResponseError
from sd3.http.base64_json import parse_response, read_image_at, split_long_strings, with_image
from tests.support.factories.images import png
from tests.support.factories.octoai_responses import b64


class Response(BaseModel):
    """What is read below."""

    images: list[str]
    note: str = ""


@pytest.mark.parametrize("width", [1, 64])
def test_image_is_written_and_read_back(width: int) -> None:
    image = read_image(png(width, width))
    body = bytearray(with_image(b'{"images":["short"]}', "note", image))
    assert json.loads(body) == {"images": ["short"], "note": b64(image.data)}
    response, places = parse_response(body, Response)
    assert response.images == ["short"]
    assert read_image_at(response.note, body, places) == image


def test_images_are_read_from_the_last_one_on_and_the_body_shrinks() -> None:
    images = [read_image(png(width)) for width in (64, 65, 66)]
    body = bytearray(json.dumps({"images": [b64(one.data) for one in images]}).encode())
    response, places = parse_response(body, Response)
    for text, image in reversed(list(zip(response.images, images, strict=True))):
        before = len(body)
        assert read_image_at(text, body, places) == image
        assert len(body) < before - len(image.data)
    assert bytes(body) == b'{"images": ["'


@pytest.mark.parametrize("text", ["", "secret!", "secret!" * 999, "AAAA"])
def test_a_string_that_is_no_image_is_reported_and_not_quoted(text: str) -> None:
    body = bytearray(json.dumps({"images": [text]}).encode())
    response, places = parse_response(body, Response)
    with pytest.raises(UpstreamResponseError, match="upstream's image 3: ") as caught:
        read_image_at(response.images[0], body, places, index=3)
    assert "secret" not in caught.value.message


def parsed(body: bytes) -> Any:
    """Parse by way of split_long_strings, with the strings put back."""

    def put_back(value: Any) -> Any:
        if isinstance(value, str):
            return body[places[value]].decode() if value in places else value
        if isinstance(value, list):
            return [put_back(item) for item in value]
        if isinstance(value, dict):
            return {put_back(key): put_back(item) for key, item in value.items()}
        return value

    skeleton, places = split_long_strings(bytearray(body))
    return put_back(json.loads(skeleton))


LONG = b64(bytes(range(256)) * 12)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"images":[{{"image_b64":"{LONG}"}}]}}',
        f' {{ "{LONG}" \n:\t"{LONG}" , "b" : "{LONG[:-2]}==" }} ',
        f'["\\"{LONG}", "{LONG}\\"", "{LONG}\\\\", "\\\\\\"{LONG}", "\\\\", "{LONG}"]',
        f'["{LONG[:900]}\\/{LONG}", "{LONG}\\u002f", "\\u0022{LONG}", "{LONG}"]',
        f'["", "", "{LONG}", "", "{LONG}"]',
        f'["{LONG}", "\u2603{LONG}\u2603", 1, {" " * 3000} 2, "a{" " * 3000}b"]',
        f'["0", "placeholder0", "{"0" * 32}0", "{LONG}"]',
        "[" + '"",' * 3000 + f'"{LONG}"]',
        '"' + LONG + '"',
        "17",
    ],
)
def test_long_strings_are_cut_out_and_nothing_else_changes(text: str) -> None:
    assert parsed(text.encode()) == json.loads(text)


TRICKY = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='"\\/AZ09+=', max_size=40),
    st.sampled_from([LONG, LONG + '"', '"' + LONG, LONG + "\\", "\\" * 5 + LONG, LONG[:1024]]),
)


@settings(deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | TRICKY,
        lambda inner: st.lists(inner) | st.dictionaries(TRICKY, inner),
        max_leaves=12,
    ),
    ascii_only=st.booleans(),
    slashes=st.booleans(),
    indent=st.none() | st.integers(0, 3),
)
def test_any_json_is_the_same_after_cutting(
    *, value: Any, ascii_only: bool, slashes: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if slashes:
        text = text.replace("/", "\\/")
    assert parsed(text.encode("utf-8", "surrogatepass")) == json.loads(text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(['"', "\\", "[", "]", ",", ":", " ", "{", "}", "1", LONG]), max_size=30
    )
)
def test_what_is_not_json_stays_so(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(json.JSONDecodeError):
            parsed(text.encode())
    else:
        assert parsed(text.encode()) == expected
