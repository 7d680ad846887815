"""The wire contract at its limits: what a request may contain, and how its errors are reported."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.image import encode_base64
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import MAX_SEED, GenerateRequest, fingerprint_of
from sd3.domain.request_checks import SIZES
from sd3.errors import FieldError, InvalidRequestError
from tests.support.factories.images import flat, png

PNG = png()
PNG_TEXT = encode_base64(PNG)
UPLOAD_ID = "0123456789abcdef" * 2
ASTRAL = "\U0001f98a"
OTHER_MODELS_FIELDS = (
    "sampler", "style_preset", "loras", "mask_image", "checkpoint", "vae", "clip_skip", "prompt_2",
    "negative_prompt_2", "use_refiner", "high_noise_frac", "outpainting", "textual_inversions",
    "transfer_images", "controlnet", "controlnet_conditioning_scale", "controlnet_early_stop",
    "controlnet_image", "controlnet_preprocess", "inpaint_full_res", "inpaint_full_res_padding",
)  # fmt: skip


def parse(**values: Any) -> GenerateRequest:
    return GenerateRequest.parse(json.dumps({"prompt": "a fox", **values}))


def field_errors(values: object) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidRequestError) as caught:
        GenerateRequest.parse(json.dumps(values))
    return caught.value.field_errors


def test_only_a_prompt_is_needed() -> None:
    assert parse().model_dump() == {
        "prompt": "a fox", "negative_prompt": None, "cfg_scale": 12, "steps": 30, "num_images": 1,
        "seed": None, "width": 1024, "height": 1024, "image_encoding": "jpeg", "init_image": None,
        "init_image_id": None, "init_image_url": None, "init_image_fit": None,
        "strength": 0.8, "log_prompt": False,
        "response_format": "url", "embed_parameters": None, "placeholder": None, "webhook": None,
        "metadata": {}, "dry_run": False,
    }  # fmt: skip


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch", None])
def test_a_default_is_not_stored_for_a_function_of_an_earlier_version(fit: str | None) -> None:
    """It would leave a job with a field that it does not know to a later version."""
    request = parse(init_image_fit=fit)
    stored = json.loads(request.model_dump_json(exclude_none=True))
    assert stored.get("init_image_fit") == (None if fit == "cover" else fit)
    assert GenerateRequest.model_validate(stored) == request
    assert (fingerprint_of(request) == fingerprint_of(parse())) == (fit in {None, "cover"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "x"), ("prompt", "x" * 10_000), ("prompt", ASTRAL * 10_000), ("prompt", "\0x"),
        ("negative_prompt", None), ("negative_prompt", ""), ("negative_prompt", ASTRAL * 10_000),
        ("cfg_scale", 5e-324), ("cfg_scale", 1), ("cfg_scale", 50), ("cfg_scale", 50.0),
        ("steps", 1), ("steps", 200), ("num_images", 1), ("num_images", 16),
        ("seed", None), ("seed", 1), ("seed", MAX_SEED), ("seed", [1]), ("seed", [None]),
        ("image_encoding", "jpeg"), ("image_encoding", "png"), ("init_image", None),
        ("init_image_id", None), ("init_image_id", UPLOAD_ID), ("init_image_fit", "contain"),
        ("strength", 5e-324), ("strength", 1), ("strength", 1.0), ("log_prompt", True),
        ("response_format", "url"), ("response_format", "b64_json"), ("metadata", {}),
        ("placeholder", None), ("placeholder", "thumbhash"),
        ("metadata", {f"k{n}": "" for n in range(16)}), ("metadata", {"k" * 64: "v" * 512}),
        ("width", 1024), ("height", 1024),
    ],
)  # fmt: skip
def test_a_value_within_the_limits_is_unchanged(field: str, value: Any) -> None:
    assert getattr(parse(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("prompt", "", "string_too_short"), ("prompt", "x" * 10_001, "string_too_long"),
        ("prompt", ASTRAL * 10_001, "string_too_long"), ("prompt", None, "string_type"),
        ("prompt", 7, "string_type"), ("prompt", ["x"], "string_type"),
        ("negative_prompt", "x" * 10_001, "string_too_long"),
        ("negative_prompt", 7, "string_type"),
        ("cfg_scale", 0, "greater_than"), ("cfg_scale", -1, "greater_than"),
        ("cfg_scale", 50.01, "less_than_equal"), ("cfg_scale", 10**400, "float_type"),
        ("cfg_scale", "12", "float_type"), ("cfg_scale", True, "float_type"),
        ("steps", 0, "greater_than_equal"), ("steps", 201, "less_than_equal"),
        ("steps", 1.5, "int_type"), ("steps", True, "int_type"), ("steps", "30", "int_type"),
        ("steps", 10**400, "less_than_equal"),
        ("num_images", 0, "greater_than_equal"), ("num_images", 17, "less_than_equal"),
        ("num_images", 1.5, "int_type"), ("num_images", False, "int_type"),
        ("seed", 0, "greater_than_equal"), ("seed", 2**32, "less_than_equal"),
        ("seed", 1.5, "int_type"), ("seed", "1", "int_type"), ("seed", True, "int_type"),
        ("seed", {}, "int_type"), ("seed", [], "seed_count"), ("seed", [1, 2], "seed_count"),
        ("seed", [1] * 17, "too_long"), ("seed", ["x"] * 100_000, "too_long"),
        ("width", 1023, "size"), ("width", "1024", "int_type"), ("width", 0, "size"),
        ("width", 10**400, "size"), ("height", 1025, "size"), ("height", True, "int_type"),
        ("image_encoding", "webp", "literal_error"), ("image_encoding", "PNG", "literal_error"),
        ("init_image", 7, "string_type"), ("init_image", "", "picture"),
        ("init_image", "a fox", "picture"), ("init_image", PNG_TEXT[:-4], "picture"),
        ("init_image", encode_base64(flat(63, 64)), "picture"),
        ("init_image_id", 7, "string_type"), ("init_image_id", "", "string_pattern_mismatch"),
        ("init_image_id", UPLOAD_ID.upper(), "string_pattern_mismatch"),
        ("init_image_id", f"{UPLOAD_ID}\n", "string_pattern_mismatch"),
        ("init_image_id", f"../{UPLOAD_ID}", "string_pattern_mismatch"),
        ("strength", 0, "greater_than"), ("strength", 1.001, "less_than_equal"),
        ("strength", "0.8", "float_type"),
        ("log_prompt", "true", "bool_type"), ("log_prompt", 1, "bool_type"),
        ("response_format", "base64", "literal_error"), ("response_format", 7, "literal_error"),
        ("placeholder", "blurhash", "literal_error"), ("placeholder", True, "literal_error"),
        ("metadata", [], "dict_type"), ("metadata", "x", "dict_type"),
        ("metadata", {f"k{n}": "" for n in range(17)}, "too_long"),
        ("metadata", {f"k{n}": n for n in range(50_000)}, "too_long"),
        ("an_unknown_field", None, "extra_forbidden"), ("Prompt", "x", "extra_forbidden"),
        ("init_image_b64", PNG_TEXT, "extra_forbidden"), ("", 7, "extra_forbidden"),
        ("one", 1, "extra_forbidden"), ("list", [1], "extra_forbidden"),
    ],
)  # fmt: skip
def test_a_value_outside_the_limits_is_one_fault_at_its_field(
    field: str, value: Any, kind: str
) -> None:
    (field_error,) = field_errors({"prompt": "a fox", field: value})
    assert (field_error.loc, field_error.type) == (("body", field), kind)


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ({"steps": 30.0}, {"steps": 30}),
        ({"steps": 3e1, "num_images": 2.0}, {"num_images": 2}),
        ({"width": 1024.0, "height": 1024.0}, {}),
        ({"width": 1344.0, "height": 768.0}, {"width": 1344, "height": 768}),
        ({"seed": 7.0}, {"seed": 7}),
        ({"seed": 4294967295.0}, {"seed": MAX_SEED}),
        ({"seed": [7.0, None], "num_images": 2.0}, {"seed": [7, None], "num_images": 2}),
        ({"cfg_scale": 12, "strength": 0.8e0}, {}),
    ],
)
def test_a_number_without_a_fraction_is_an_integer_and_the_same_request(
    body: dict[str, Any], same: dict[str, Any]
) -> None:
    assert parse(**body).model_dump_json() == parse(**same).model_dump_json()
    assert fingerprint_of(parse(**body)) == fingerprint_of(parse(**same))


def test_a_fingerprint_is_the_same_in_a_version_with_one_more_field() -> None:
    class LaterRequest(GenerateRequest):
        tiled: bool = False

    values = {"prompt": "a fox", "steps": 7}
    later, tiled = (LaterRequest.from_values(values | more) for more in ({}, {"tiled": True}))
    assert fingerprint_of(later) == fingerprint_of(GenerateRequest.from_values(values))
    assert fingerprint_of(tiled) != fingerprint_of(later)


@pytest.mark.parametrize("field", ["steps", "num_images", "seed", "width", "height"])
@pytest.mark.parametrize("number", ["30.5", '"30"', "true", "1e400", "-0.0", "1e308", "1e-9"])
def test_a_number_that_is_no_integer_in_its_range_is_one_fault(field: str, number: str) -> None:
    for value, loc in ((number, (field,)), (f"[{number}]", ("seed", 0))):
        body = f'{{"prompt": "a fox", "{loc[0]}": {value}}}'
        with pytest.raises(InvalidRequestError) as caught:
            GenerateRequest.parse(body)
        assert [error.loc for error in caught.value.field_errors] == [("body", *loc)]


def test_a_list_of_seeds_that_is_too_short_counts_whole_images() -> None:
    (error,) = field_errors({"prompt": "a fox", "num_images": 3.0, "seed": [1]})
    assert error.msg == "a list should have num_images (3) entries"


BLANK = (
    " ", "\t\n\r\v\f", "\0", "\x1b\x7f\x85", "\u00a0\u1680\u2003\u202f\u205f\u3000", "\u2028\u2029",
    "\ufeff", "\u200b\u200c\u200d\u2060", "\u00ad", "\u180e", "\u2062", "\u202a\u202e\u2066\u2069",
    "\u3164\u115f\u1160\uffa0", "\u2800", "\ufe0f", "\ufffc", "\U000e0041\U000e007f",
    " \u200b\n" * 9,
)  # fmt: skip


@pytest.mark.parametrize("prompt", BLANK)
def test_a_prompt_that_shows_nothing_is_a_fault(prompt: str) -> None:
    (error,) = field_errors({"prompt": prompt})
    assert (error.loc, error.type) == (("body", "prompt"), "blank")
    assert parse(negative_prompt=prompt).negative_prompt == prompt
    assert parse(prompt=f"{prompt}x{prompt}").prompt == f"{prompt}x{prompt}"


@pytest.mark.parametrize(
    "prompt", [".", "\u00e9", "\u5b57", "\U0001faea", "\ue000", "\u0301", "\u061b"]
)
def test_a_prompt_of_one_character_that_shows_is_taken(prompt: str) -> None:
    assert parse(prompt=prompt).prompt == prompt


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("text", ["\ufffd", "ein F\ufffdchslein", "x" * 9999 + "\ufffd"])
def test_a_text_that_was_not_utf_8_is_a_fault_that_says_so(field: str, text: str) -> None:
    (error,) = field_errors({"prompt": "a fox", field: text})
    assert (error.loc, error.type) == (("body", field), "not_utf8")
    assert "the body was not UTF-8" in error.msg


def test_metadata_is_echoed_whatever_it_holds() -> None:
    assert parse(metadata={"\ufffd": " \ufffd"}).metadata == {"\ufffd": " \ufffd"}


def test_a_stored_job_is_read_whatever_its_prompt() -> None:
    for prompt in (" ", "\ufffd"):
        assert GenerateRequest.model_validate({"prompt": prompt}).prompt == prompt


@pytest.mark.parametrize(
    ("field", "value", "loc"),
    [
        ("seed", [0], ("seed", 0)), ("seed", [2**32], ("seed", 0)), ("seed", [[1]], ("seed", 0)),
        ("seed", [True], ("seed", 0)), ("seed", [1, None, "x"], ("seed", 2)),
        ("metadata", {"a": 1}, ("metadata", "a")), ("metadata", {"a": None}, ("metadata", "a")),
        ("metadata", {"seed": 1}, ("metadata", "seed")),
        ("metadata", {"a": "v" * 513}, ("metadata", "a")),
        ("metadata", {"": "v"}, ("metadata", "", "[key]")),
        ("metadata", {"k" * 65: "v"}, ("metadata", "k" * 64, "[key]")),
        ("u" * 100_000, 1, ("u" * 64,)),
    ],
)  # fmt: skip
def test_a_fault_names_the_entry_within_bounds(
    field: str, value: Any, loc: tuple[str | int, ...]
) -> None:
    (field_error,) = field_errors({"prompt": "a fox", field: value})
    assert field_error.loc == ("body", *loc)


def test_a_missing_prompt_is_a_fault() -> None:
    assert field_errors({}) == (FieldError(("body", "prompt"), "Field required", "missing"),)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_each_of_the_nine_sizes_is_taken(width: int, height: int) -> None:
    request = parse(width=width, height=height)
    assert (request.width, request.height) == (width, height)


NEAR_SIZES = {
    near
    for width, height in SIZES
    for near in [(width + 1, height), (width, height - 1), (width - 64, height), (width, 1024)]
} - set(SIZES)


@pytest.mark.parametrize(("width", "height"), sorted(NEAR_SIZES))
def test_any_other_size_is_a_fault_that_names_all_nine(width: int, height: int) -> None:
    (field_error,) = field_errors({"prompt": "a fox", "width": width, "height": height})
    assert field_error.loc == ("body", "height" if width in dict(SIZES) else "width")
    for right_width, right_height in SIZES:
        assert f"{right_width}x{right_height}" in field_error.msg


@pytest.mark.parametrize(("field", "side"), [("width", 1536), ("height", 1344)])
def test_a_missing_side_counts_as_1024(field: str, side: int) -> None:
    assert parse(**{field: 1024}) == parse()
    assert field_errors({"prompt": "a fox", field: side})[0].type == "size"


def test_a_seed_list_has_num_images_entries() -> None:
    assert parse(num_images=3, seed=[1, None, MAX_SEED]).seed == [1, None, MAX_SEED]
    assert parse(num_images=16, seed=[None] * 16).seed == [None] * 16
    (field_error,) = field_errors({"prompt": "a fox", "num_images": 3, "seed": [1, 2]})
    assert field_error == FieldError(
        ("body", "seed"), "a list should have num_images (3) entries", "seed_count"
    )


@pytest.mark.parametrize("field", OTHER_MODELS_FIELDS)
def test_a_field_of_another_model_may_be_null_only(field: str) -> None:
    assert parse(**{field: None}) == parse()
    values: list[Any] = [False, 0, "", {}, [], "x"]
    for value in values:
        (field_error,) = field_errors({"prompt": "a fox", field: value})
        assert field_error == FieldError(("body", field), "not supported on SD3", "not_supported")


@pytest.mark.parametrize(
    "field",
    ["negative_prompt", "cfg_scale", "steps", "num_images", "seed", "width", "height",
     "image_encoding", "init_image", "strength", "log_prompt"],
)  # fmt: skip
def test_null_is_the_default_of_what_octoais_client_may_send_as_null(field: str) -> None:
    assert parse(**{field: None}) == parse()


@pytest.mark.parametrize("field", ["prompt", "response_format", "metadata"])
def test_null_is_a_fault_elsewhere(field: str) -> None:
    (field_error,) = field_errors({"prompt": "a fox", field: None})
    assert field_error.loc == ("body", field)


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_init_image_is_decoded(head: str) -> None:
    request = parse(init_image=head + PNG_TEXT)
    assert request.init_image == (PNG, "image/png", 64, 64)


def test_an_init_image_comes_by_one_way_only() -> None:
    (field_error,) = field_errors(
        {"prompt": "a fox", "init_image": PNG_TEXT, "init_image_id": UPLOAD_ID}
    )
    assert field_error == FieldError(
        ("body", "init_image_id"), "not together with init_image", "init_image_id"
    )
    assert parse(init_image=None, init_image_id=UPLOAD_ID).init_image_id == UPLOAD_ID
    assert parse(init_image=PNG_TEXT, init_image_id=None).init_image
    (wrong,) = field_errors({"prompt": "a fox", "init_image": "?", "init_image_id": UPLOAD_ID})
    assert wrong.loc == ("body", "init_image")


def test_several_errors_are_reported_at_once() -> None:
    found = field_errors({
        "prompt": "", "steps": 0, "num_images": 17, "seed": [0, 1, "x"], "width": 1, "height": "1",
        "init_image": "c2VjcmV0", "vae": "x", "metadata": {"a": 1}, "unknown": 1,
    })  # fmt: skip
    assert sorted(".".join(map(str, field_error.loc[1:])) for field_error in found) == [
        "height", "init_image", "metadata.a", "num_images", "prompt", "seed.0", "seed.2", "steps",
        "unknown", "vae",
    ]  # fmt: skip


def test_errors_of_combined_fields_are_listed_with_the_others() -> None:
    found = field_errors({"prompt": "", "width": 1, "seed": [], "init_image": "?", "loras": {}})
    assert [field_error.loc[1] for field_error in found] == [
        "loras",
        "prompt",
        "init_image",
        "width",
        "seed",
    ]


def test_a_wrong_entry_hides_no_fault_of_the_field_of_its_name() -> None:
    found = field_errors({"prompt": "a fox", "metadata": {"width": 1}, "width": 1})
    assert [field_error.loc[1] for field_error in found] == ["metadata", "width"]


def test_an_invalid_field_is_reported_once_and_not_with_its_partner() -> None:
    assert len(field_errors({"prompt": "a fox", "num_images": 0, "seed": [1]})) == 1
    assert len(field_errors({"prompt": "a fox", "height": "x", "width": 1})) == 1


def test_a_message_quotes_names_and_no_values() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(prompt=["secret"], init_image="secret", image_encoding="secret", seed="secret")
    assert "secret" not in str(caught.value) + str(caught.value.field_errors)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_request_does_not_show_its_prompts_or_image() -> None:
    shown = repr(parse(prompt="secret", negative_prompt="secret", init_image=PNG_TEXT))
    assert "secret" not in shown
    assert "PNG" not in shown


def test_a_request_has_at_most_100_fields() -> None:
    assert len(field_errors({f"f{n}": n for n in range(100)})) == 100
    assert field_errors({f"f{n}": n for n in range(101)}) == (
        FieldError(("body",), "Object should have at most 100 fields", "too_long"),
    )


def test_a_terminal_status_is_an_end() -> None:
    ends = {status for status in JobStatus if status.is_terminal}
    assert ends == {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED}


def test_a_job_comes_back_from_json_without_its_init_image() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    charges = tuple(
        Charge(attempt=n, upstream="octoai", outcome=ChargeOutcome.CHARGED, micros=30_000)
        for n in (1, 2)
    )
    job = Job(
        id="1", client_id="ann", status=JobStatus.RUNNING, created_at=now, expires_at=now,
        request=parse(init_image=PNG_TEXT, seed=[7]), seeds=(7,), charges=charges,
    )  # fmt: skip
    assert job.cost_micros == 60_000
    back = Job.model_validate_json(job.model_dump_json())
    assert back == job.model_copy(update={"request": parse(seed=[7])})


@pytest.mark.parametrize("max_images", [None, 3, 16])
def test_a_client_may_request_images_up_to_its_limit(max_images: int | None) -> None:
    body = '{"prompt": "x", "num_images": 3}'
    assert GenerateRequest.parse(body, max_images=max_images).num_images == 3


@pytest.mark.parametrize("count", [3, 16, 17, "x", True])
def test_more_images_than_a_client_may_have_are_one_fault_of_all(count: object) -> None:
    body = json.dumps({"prompt": "x", "steps": 0, "num_images": count})
    with pytest.raises(InvalidRequestError) as caught:
        GenerateRequest.parse(body, max_images=2)
    locs = [field_error.loc for field_error in caught.value.field_errors]
    assert locs == [("body", "steps"), ("body", "num_images")]


def test_one_image_is_what_no_number_means() -> None:
    for body in ('{"prompt": "x"}', '{"prompt": "x", "num_images": null}'):
        assert GenerateRequest.parse(body, max_images=1).num_images == 1
