"""The schema of a request: its defaults, its boundaries, and what it rejects."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_json

from model_server.contract.schemas import MAX_SEED, SIZES, GenerateRequest


def parse(**fields: Any) -> GenerateRequest:
    return GenerateRequest.model_validate_json(to_json({"prompt": "a fox"} | fields))


def errors(**fields: Any) -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(ValidationError) as caught:
        parse(**fields)
    return [(error["type"], error["loc"]) for error in caught.value.errors()]


def test_only_the_prompt_is_required_and_the_rest_has_octoais_defaults() -> None:
    assert parse().model_dump() == {
        "prompt": "a fox",
        "negative_prompt": None,
        "cfg_scale": 12,
        "steps": 30,
        "num_images": 1,
        "seed": None,
        "width": 1024,
        "height": 1024,
        "image_encoding": "jpeg",
        "init_image": None,
        "strength": 0.8,
        "log_prompt": False,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x"},
        {"prompt": "x" * 10_000},
        {"negative_prompt": ""},
        {"negative_prompt": "x" * 10_000},
        {"negative_prompt": None},
        {"cfg_scale": 0.001},
        {"cfg_scale": 50},
        {"steps": 1},
        {"steps": 200},
        {"num_images": 16},
        {"seed": 1},
        {"seed": MAX_SEED},
        {"seed": [7]},
        {"seed": [None]},
        {"seed": [1, None, 3], "num_images": 3},
        {"image_encoding": "png"},
        {"init_image": None},
        {"strength": 0.001},
        {"strength": 1},
        {"log_prompt": True},
        {"sampler": None, "loras": None, "controlnet_image": None, "inpaint_base_model": None},
        *({"width": width, "height": height} for width, height in SIZES),
    ],
)
def test_fields_within_the_contract_are_accepted(fields: dict[str, Any]) -> None:
    parse(**fields)


@pytest.mark.parametrize(
    ("fields", "kind", "where"),
    [
        ({"prompt": ""}, "string_too_short", "prompt"),
        ({"prompt": "x" * 10_001}, "string_too_long", "prompt"),
        ({"prompt": None}, "string_type", "prompt"),
        ({"negative_prompt": "x" * 10_001}, "string_too_long", "negative_prompt"),
        ({"cfg_scale": 0}, "greater_than", "cfg_scale"),
        ({"cfg_scale": 50.001}, "less_than_equal", "cfg_scale"),
        ({"cfg_scale": "12"}, "float_type", "cfg_scale"),
        ({"steps": 0}, "greater_than_equal", "steps"),
        ({"steps": 201}, "less_than_equal", "steps"),
        ({"steps": 1.5}, "int_type", "steps"),
        ({"steps": True}, "int_type", "steps"),
        ({"num_images": 0}, "greater_than_equal", "num_images"),
        ({"num_images": 17}, "less_than_equal", "num_images"),
        ({"seed": 0}, "greater_than_equal", "seed"),
        ({"seed": MAX_SEED + 1}, "less_than_equal", "seed"),
        ({"seed": "7"}, "int_type", "seed"),
        ({"seed": [0]}, "greater_than_equal", "seed"),
        ({"seed": [1] * 17}, "too_long", "seed"),
        ({"width": "1024"}, "int_type", "width"),
        ({"image_encoding": "gif"}, "literal_error", "image_encoding"),
        ({"init_image": 7}, "string_type", "init_image"),
        ({"init_image": "not base64!"}, "base64", "init_image"),
        ({"init_image": "data:image/png;base64,AAAA"}, "base64", "init_image"),
        ({"strength": 0}, "greater_than", "strength"),
        ({"strength": 1.001}, "less_than_equal", "strength"),
        ({"log_prompt": 1}, "bool_type", "log_prompt"),
        ({"sampler": "DDIM"}, "extra_forbidden", "sampler"),
        ({"colour": None}, "extra_forbidden", "colour"),
        ({"response_format": "url"}, "extra_forbidden", "response_format"),
    ],
)
def test_a_field_outside_the_contract_is_one_error(
    fields: dict[str, Any], kind: str, where: str
) -> None:
    [(found, loc)] = errors(**fields)
    assert (found, loc[0]) == (kind, where)


@pytest.mark.parametrize("size", [(512, 512), (640, 1024), (1024, 1536), (1344, 640)])
def test_a_size_that_is_not_one_of_the_nine_is_rejected(size: tuple[int, int]) -> None:
    assert errors(width=size[0], height=size[1]) == [("size", ())]


def test_a_width_without_a_height_is_checked_with_1024() -> None:
    assert errors(width=1536) == [("size", ())]


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_seeds_of_another_length_is_rejected(count: int) -> None:
    assert errors(seed=[1, 2], num_images=count) == [("seed_count", ())]


def test_seeds_count_up_from_a_single_one_and_start_again_at_1() -> None:
    request = parse(seed=MAX_SEED - 1, num_images=4)
    assert request.resolve_seeds(pytest.fail) == [MAX_SEED - 1, MAX_SEED, 1, 2]


def test_a_null_in_a_list_of_seeds_becomes_a_random_seed() -> None:
    random = iter((100, 200))
    request = parse(seed=[None, 5, None], num_images=3)
    assert request.resolve_seeds(lambda: next(random)) == [100, 5, 200]


def test_without_a_seed_every_seed_is_random() -> None:
    random = iter((100, 200))
    assert parse(num_images=2).resolve_seeds(lambda: next(random)) == [100, 200]
