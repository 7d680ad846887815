"""What a generate request returns: seeds, sizes, encodings, init images and removed images."""

import pytest
from PIL import Image

from model_server.contract.schemas import MAX_SEED, SIZES
from tests.support.factories.base64_images import encode_base64
from tests.support.servers.model_server import ModelServerClient, decode_images

INIT_IMAGE = encode_base64(Image.linear_gradient("L").resize((640, 480)), "WEBP")


def test_a_response_has_the_fields_of_octoai_and_no_others(client: ModelServerClient) -> None:
    response = client.generate(prompt="a fox", steps=1)
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert sorted(body) == ["images", "prediction_time_ms"]
    assert body["prediction_time_ms"] > 0
    [image] = body["images"]
    assert sorted(image) == ["image_b64", "removed_for_safety", "safety_score", "seed"]
    assert (image["removed_for_safety"], image["safety_score"]) == (False, None)
    assert 1 <= image["seed"] <= MAX_SEED


@pytest.mark.parametrize(("encoding", "kind"), [("jpeg", "JPEG"), ("png", "PNG")])
@pytest.mark.parametrize("size", [SIZES[0], SIZES[5], SIZES[8]])
def test_an_image_has_the_requested_size_and_encoding(
    client: ModelServerClient, size: tuple[int, int], encoding: str, kind: str
) -> None:
    response = client.generate(
        prompt="a fox", steps=1, width=size[0], height=size[1], image_encoding=encoding
    )
    [image] = decode_images(response)
    image.load()
    assert (image.format, image.size) == (kind, size)


def test_sixteen_images_come_in_the_order_of_their_seeds(client: ModelServerClient) -> None:
    response = client.generate(prompt="a fox", steps=1, num_images=16, seed=MAX_SEED - 3)
    images = response.json()["images"]
    assert [i["seed"] for i in images] == [*range(MAX_SEED - 3, MAX_SEED + 1), *range(1, 13)]
    assert len({i["image_b64"] for i in images}) == 16
    [alone] = client.generate(prompt="a fox", steps=1, seed=12).json()["images"]
    assert alone == images[-1]


def test_a_list_of_seeds_is_used_and_its_nulls_become_random_seeds(
    client: ModelServerClient,
) -> None:
    response = client.generate(prompt="a fox", steps=1, num_images=3, seed=[9, None, 9])
    first, random, last = response.json()["images"]
    assert (first["seed"], last["seed"]) == (9, 9)
    assert first["image_b64"] == last["image_b64"]
    again = client.generate(prompt="a fox", steps=1, seed=random["seed"]).json()
    assert again["images"] == [random]


def test_strength_1_is_text_to_image(client: ModelServerClient) -> None:
    plain = client.generate(prompt="a fox", steps=1, seed=3).json()["images"]
    ignored = client.generate(prompt="a fox", steps=1, seed=3, init_image=INIT_IMAGE, strength=1)
    assert ignored.json()["images"] == plain


def test_an_init_image_is_resized_to_the_output(client: ModelServerClient) -> None:
    response = client.generate(
        prompt="a fox", steps=1, width=640, height=1536, init_image=INIT_IMAGE, strength=0.01
    )
    [image] = decode_images(response)
    assert image.size == (640, 1536)
    grey = image.convert("L")
    levels = [grey.resize((1, 1), box=(0, y, 640, y + 20)).tobytes()[0] for y in (0, 700, 1300)]
    assert levels == pytest.approx([1, 118, 218], abs=8)


def test_a_forbidden_prompt_is_rejected(client: ModelServerClient) -> None:
    response = client.generate(prompt="a sketch-forbidden fox")
    assert response.status_code == 400
    assert response.json() == {"message": "This request violates our Acceptable Use Policy."}


def test_an_unsafe_image_is_removed_and_the_others_are_not(client: ModelServerClient) -> None:
    response = client.generate(prompt="a fox sketch-unsafe-2", steps=1, num_images=4, seed=1)
    images = response.json()["images"]
    assert [image["removed_for_safety"] for image in images] == [False, False, True, False]
    assert images[2] == {
        "image_b64": None, "removed_for_safety": True, "seed": 3, "safety_score": 0.98
    }  # fmt: skip
    assert all(image["image_b64"] for image in images if not image["removed_for_safety"])


def test_an_unsafe_prompt_loses_all_its_images(client: ModelServerClient) -> None:
    response = client.generate(prompt="sketch-unsafe", num_images=16)
    assert response.status_code == 200
    assert all(image["image_b64"] is None for image in response.json()["images"])
