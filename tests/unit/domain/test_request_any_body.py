"""Any body is a valid request, or it is rejected with one of two errors."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.domain.request_checks import LOST, SIZES, VISIBLE
from sd3.errors import FieldError, InvalidJsonError, InvalidRequestError, RequestError

SEEDS = st.integers(1, MAX_SEED)
TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXT, inner, max_size=20),
    max_leaves=10,
)
NAMES = st.sampled_from([*GenerateRequest.model_fields, "vae", "controlnet_image"])
NEAR_REQUESTS = st.dictionaries(NAMES, JSON).map(lambda values: {"prompt": "a fox", **values})


@st.composite
def valid_requests(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 16))
    width, height = draw(st.sampled_from(SIZES))
    lists = st.lists(SEEDS | st.none(), min_size=count, max_size=count)
    optional = {
        "negative_prompt": TEXT.filter(lambda text: LOST not in text) | st.none(),
        "cfg_scale": st.integers(1, 50) | st.floats(0, 50, exclude_min=True),
        "steps": st.integers(1, 200),
        "seed": st.none() | SEEDS | lists,
        "image_encoding": st.sampled_from(["jpeg", "png"]),
        "strength": st.floats(0, 1, exclude_min=True),
        "log_prompt": st.booleans(),
        "response_format": st.sampled_from(["url", "b64_json"]),
        "metadata": st.dictionaries(TEXT.filter(bool), TEXT, max_size=16),
    }
    sizes = {"num_images": count, "width": width, "height": height}
    prompt = draw(
        TEXT.filter(lambda text: LOST not in text and re.search(VISIBLE, text) is not None)
    )
    return {"prompt": prompt, **sizes, **draw(st.fixed_dictionaries({}, optional=optional))}


@settings(deadline=None)
@given(valid_requests())
def test_a_valid_request_is_read_as_it_was_sent_and_comes_back(values: dict[str, Any]) -> None:
    request = GenerateRequest.parse(json.dumps(values).encode())
    assert {name: getattr(request, name) for name in values} == values
    assert GenerateRequest.model_validate_json(request.model_dump_json()) == request
    assert GenerateRequest.parse(request.model_dump_json()) == request


def assert_read_or_refused(body: bytes | str) -> None:
    try:
        response: GenerateRequest | RequestError = GenerateRequest.parse(body)
    except (InvalidJsonError, InvalidRequestError) as error:
        response = error
    if isinstance(response, InvalidRequestError):
        assert 1 <= len(response.field_errors) <= 100
        assert all(
            field_error.loc[0] == "body" and len(field_error.loc) <= 4
            for field_error in response.field_errors
        )


@settings(deadline=None)
@given(JSON | NEAR_REQUESTS)
def test_any_json_is_accepted_or_rejected(values: object) -> None:
    assert_read_or_refused(json.dumps(values))


@settings(deadline=None)
@given(st.binary() | st.text())
def test_anything_else_is_accepted_or_rejected(body: bytes | str) -> None:
    assert_read_or_refused(body)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"hello", b"{", b'{"prompt": "x"} {}', b"{'prompt': 'x'}", b'{"prompt": NaN}',
     b'{"cfg_scale": Infinity}', b'{"cfg_scale": -Infinity}', b'{"prompt": "\xff"}', b"\xff\xfe{}",
     b'{"prompt": "\\ud800"}', b"[" * 10_000, b'{"a":' * 10_000,
     b"[" * 10_000 + b"]" * 10_000, b'{"steps": ' + b"1" * 5000 + b"}", "", '{"prompt": "\ud800"}'],
)  # fmt: skip
def test_a_body_that_is_not_json_is_an_invalid_json_error(body: bytes | str) -> None:
    with pytest.raises(InvalidJsonError, match=r"^The body is not JSON: "):
        GenerateRequest.parse(body)


@pytest.mark.parametrize("body", ['{"prompt": "x"}', '\n{"prompt": "x"} '])
def test_a_byte_order_mark_is_passed_over(body: str) -> None:
    for sent in (f"\ufeff{body}", f"\ufeff{body}".encode()):
        assert GenerateRequest.parse(sent) == GenerateRequest.parse(body)


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"]
)
def test_a_body_in_another_charset_is_named_as_such(charset: str) -> None:
    data = '{"prompt": "Füchslein"}'.encode(charset)
    bodies: list[bytes | str] = [data]
    if charset != "latin-1":  # what a gateway makes of Latin-1 is JSON, with a prompt that is lost
        bodies.append(data.decode(errors="replace"))
    for body in bodies:
        with pytest.raises(InvalidJsonError, match="it is not in UTF-8"):
            GenerateRequest.parse(body)


@pytest.mark.parametrize("body", ["[]", "null", "7", '"x"', "true", "[" * 100 + "]" * 100])
def test_a_body_that_is_no_object_is_a_fault(body: str) -> None:
    with pytest.raises(InvalidRequestError, match="detail for body") as caught:
        GenerateRequest.parse(body)
    assert caught.value.field_errors == (
        FieldError(("body",), "Input should be an object", "dict_type"),
    )


@pytest.mark.parametrize("field", ["cfg_scale", "strength"])
def test_a_number_beyond_float_is_a_fault(field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        GenerateRequest.parse(f'{{"prompt": "a fox", "{field}": 1e999}}')
    assert caught.value.field_errors[0][::2] == (("body", field), "finite_number")


@pytest.mark.parametrize("name", ["prompt", "\\u0070rompt"])
@pytest.mark.parametrize("value", ['"y"', "null", '{"a": 1, "a": 1}', "9" * 4300])
def test_a_field_that_is_there_twice_is_an_invalid_json_error(name: str, value: str) -> None:
    body = f'{{"{name}": {value}, "seed": 1, "prompt": "x"}}'
    for sent in (body, body.encode()):
        with pytest.raises(InvalidJsonError, match=r"^The body has a field twice\.$"):
            GenerateRequest.parse(sent)


def test_of_two_equal_names_in_metadata_the_last_counts() -> None:
    request = GenerateRequest.parse('{"prompt": "x", "metadata": {"a": "1", "b": "2", "a": "3"}}')
    assert request.metadata == {"a": "3", "b": "2"}  # it is only echoed


@pytest.mark.parametrize("field", ["seed", "steps", "num_images", "width", "cfg_scale", "strength"])
@pytest.mark.parametrize("number", ["9" * 4000, "-" + "9" * 4000, "1e400", "-1e400", "0.1e-400"])
def test_a_huge_number_is_a_fault_of_its_field(field: str, number: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        GenerateRequest.parse(f'{{"prompt": "x", "{field}": {number}}}')
    assert [field_error.loc for field_error in caught.value.field_errors] == [("body", field)]


@pytest.mark.parametrize("field", ["metadata", "seed", "prompt", "loras"])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [100, 10_000])
def test_a_field_of_any_depth_is_rejected(field: str, opened: str, closed: str, depth: int) -> None:
    kind = InvalidRequestError if depth == 100 else InvalidJsonError
    body = f'{{"prompt": "x", "{field}": {opened * depth}1{closed * depth}}}'
    with pytest.raises(kind):
        GenerateRequest.parse(body.replace('"prompt": "x", "prompt"', '"prompt"'))


@pytest.mark.parametrize("name", ["\ud800", "controlnet\ud800"])
def test_a_name_that_is_no_text_is_a_fault(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        GenerateRequest.from_values({"prompt": "x", name: 1})


def test_an_error_holds_at_most_100_faults_and_names_ten_fields() -> None:
    error = InvalidRequestError(
        [FieldError(("body", f"f{n}"), "wrong", "wrong") for n in range(101)]
    )
    assert len(error.field_errors) == 100
    assert "f9 and more." in error.message
    assert "f10" not in error.message
    assert "f9." in InvalidRequestError(error.field_errors[:10]).message
