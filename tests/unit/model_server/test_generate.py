"""POST /generate/sd3 from end to end: pictures, seeds, encodings, image-to-image, safety."""

import pytest
from PIL import Image

from model_server.contract.schemas import MAX_SEED, SIZES
from tests.unit.model_server.serving import Client, as_base64, pictures_of

INIT = as_base64(Image.linear_gradient("L").resize((640, 480)), "WEBP")


def test_an_answer_has_octoais_fields_and_no_others(sketch: Client) -> None:
    answer = sketch.generate(prompt="a fox", steps=1)
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert sorted(body) == ["images", "prediction_time_ms"]
    assert body["prediction_time_ms"] > 0
    [image] = body["images"]
    assert sorted(image) == ["image_b64", "removed_for_safety", "safety_score", "seed"]
    assert (image["removed_for_safety"], image["safety_score"]) == (False, None)
    assert 1 <= image["seed"] <= MAX_SEED


@pytest.mark.parametrize(("encoding", "kind"), [("jpeg", "JPEG"), ("png", "PNG")])
@pytest.mark.parametrize("size", [SIZES[0], SIZES[5], SIZES[8]])
def test_size_and_encoding_are_what_was_asked_for(
    sketch: Client, size: tuple[int, int], encoding: str, kind: str
) -> None:
    answer = sketch.generate(
        prompt="a fox", steps=1, width=size[0], height=size[1], image_encoding=encoding
    )
    [picture] = pictures_of(answer)
    picture.load()
    assert (picture.format, picture.size) == (kind, size)


def test_sixteen_pictures_come_in_the_order_of_their_seeds(sketch: Client) -> None:
    answer = sketch.generate(prompt="a fox", steps=1, num_images=16, seed=MAX_SEED - 3)
    images = answer.json()["images"]
    assert [i["seed"] for i in images] == [*range(MAX_SEED - 3, MAX_SEED + 1), *range(1, 13)]
    assert len({i["image_b64"] for i in images}) == 16
    [alone] = sketch.generate(prompt="a fox", steps=1, seed=12).json()["images"]
    assert alone == images[-1]


def test_a_seed_list_is_echoed_and_its_nulls_are_drawn(sketch: Client) -> None:
    answer = sketch.generate(prompt="a fox", steps=1, num_images=3, seed=[9, None, 9])
    first, drawn, last = answer.json()["images"]
    assert (first["seed"], last["seed"]) == (9, 9)
    assert first["image_b64"] == last["image_b64"]
    again = sketch.generate(prompt="a fox", steps=1, seed=drawn["seed"]).json()
    assert again["images"] == [drawn]


def test_strength_1_is_text_to_image(sketch: Client) -> None:
    plain = sketch.generate(prompt="a fox", steps=1, seed=3).json()["images"]
    ignoring = sketch.generate(prompt="a fox", steps=1, seed=3, init_image=INIT, strength=1)
    assert ignoring.json()["images"] == plain


def test_an_init_image_is_resized_to_the_output(sketch: Client) -> None:
    answer = sketch.generate(
        prompt="a fox", steps=1, width=640, height=1536, init_image=INIT, strength=0.01
    )
    [picture] = pictures_of(answer)
    assert picture.size == (640, 1536)
    grey = picture.convert("L")
    levels = [grey.resize((1, 1), box=(0, y, 640, y + 20)).tobytes()[0] for y in (0, 700, 1300)]
    assert levels == pytest.approx([1, 118, 218], abs=8)


def test_a_forbidden_prompt_is_refused(sketch: Client) -> None:
    answer = sketch.generate(prompt="a sketch-forbidden fox")
    assert answer.status_code == 400
    assert answer.json() == {"message": "This request violates our Acceptable Use Policy."}


def test_an_unsafe_picture_is_removed_and_the_others_are_not(sketch: Client) -> None:
    answer = sketch.generate(prompt="a fox sketch-unsafe-2", steps=1, num_images=4, seed=1)
    images = answer.json()["images"]
    assert [image["removed_for_safety"] for image in images] == [False, False, True, False]
    assert images[2] == {
        "image_b64": None, "removed_for_safety": True, "seed": 3, "safety_score": 0.98
    }  # fmt: skip
    assert all(image["image_b64"] for image in images if not image["removed_for_safety"])


def test_an_unsafe_prompt_loses_all_its_pictures(sketch: Client) -> None:
    answer = sketch.generate(prompt="sketch-unsafe", num_images=16)
    assert answer.status_code == 200
    assert all(image["image_b64"] is None for image in answer.json()["images"])
