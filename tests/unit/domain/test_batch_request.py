"""The body of POST /batches."""

import json
from typing import Any

import pytest

from sd3.domain.batch_lines import lines_of, split
from sd3.domain.batch_request import BatchRequest
from sd3.errors import InvalidJsonError, InvalidRequestError

LINE = {"custom_id": "a", "prompt": "a fox"}
UPLOAD = "0" * 32


def test_lines_in_the_body_become_the_file_that_an_upload_would_be() -> None:
    lines = [{"custom_id": "a\n", "prompt": "ein Füchslein", "seed": 2**32}, {}, {"steps": 1.5}]
    file = BatchRequest.parse("\ufeff" + json.dumps({"requests": lines})).to_jsonl()
    read = [json.loads(text) for of in split([file]) for _, text in lines_of(file, of)]
    assert read == lines


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, {"requests": "missing"}),
        ([], {"": "dict_type"}),
        ({"requests": [LINE], "upload_id": UPLOAD}, {"upload_id": "upload_id"}),
        ({"requests": []}, {"requests": "too_short"}),
        ({"requests": [LINE] * 101}, {"requests": "too_long"}),
        ({"requests": LINE}, {"requests": "list_type"}),
        ({"requests": [LINE, "x", 3]}, {"requests.1": "dict_type", "requests.2": "dict_type"}),
        ({"requests": [LINE, {}, LINE]}, {"requests.2.custom_id": "repeated"}),
        ({"upload_id": "../x"}, {"upload_id": "string_pattern_mismatch"}),
        ({"upload_id": UPLOAD, "input_file_id": "x"}, {"input_file_id": "extra_forbidden"}),
        ({"upload_id": UPLOAD, "metadata": {"k": 1}}, {"metadata.k": "string_type"}),
        ({"upload_id": UPLOAD, "metadata": dict.fromkeys(map(str, range(17)), "")}, {
            "metadata": "too_long",
        }),
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_names_every_field(values: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        BatchRequest.parse(json.dumps(values))
    found = {".".join(map(str, one.loc[1:])): one.type for one in caught.value.field_errors}
    assert found == wrong


def test_what_is_twice_in_a_line_is_refused_with_the_whole_body() -> None:
    with pytest.raises(InvalidJsonError, match="a field twice"):
        BatchRequest.parse('{"requests": [{"custom_id": "a", "prompt": "x", "prompt": "y"}]}')
