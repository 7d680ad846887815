"""POST /generate/sd3 as its users call it, through the deployed stack."""

import base64
import hashlib
import io
from collections.abc import Callable
from typing import Any, Final

import pytest
import requests
from PIL import Image

from local.stack import Stack
from sd3.domain.provenance import SOURCE_TYPES

Generate = Callable[..., requests.Response]

SEED_REQUEST: Final[dict[str, Any]] = {
    "prompt": "In the style of a artistic children's coloring book stands an extremely detailed "
    "mythical unicorn squirrel in an enchanted forest!",
    "negative_prompt": "",
    "seed": 4275432097,
    "cfg_scale": 4,
    "steps": 30,
    "num_images": 1,
    "width": 1024,
    "height": 1024,
}


@pytest.fixture
def generate(stack: Stack, client: requests.Session) -> Generate:
    """POST a request's fields as a new client."""
    return lambda **fields: client.post(
        f"{stack.api_url}/generate/sd3", json={"prompt": "a fox"} | fields, timeout=60
    )


def fetched(image: dict[str, Any]) -> Image.Image:
    """Follow a link without credentials, and check the image against its entry in the response."""
    response = requests.get(image["url"], timeout=10)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == image["content_type"]
    assert len(response.content) == image["bytes"]
    assert hashlib.sha256(response.content).hexdigest() == image["sha256"]
    decoded = Image.open(io.BytesIO(response.content))
    assert decoded.size == (image["width"], image["height"])
    return decoded


def test_a_reproduced_image_has_the_same_pixels(
    stack: Stack, generate: Generate, client: requests.Session
) -> None:
    start = encoded(photograph(file_format="PNG"))
    first = generate(num_images=2, image_encoding="png", init_image=start, strength=0.6).json()
    new = client.post(f"{stack.api_url}/jobs/{first['id']}/reproduce", timeout=60).json()
    assert (new["reproduced_from"], new["cost_usd"]) == (first["id"], first["cost_usd"])
    one, two = ([fetched(image).tobytes() for image in job["images"]] for job in (first, new))
    assert one == two
    assert one[0] != one[1]


def photograph(*, size: tuple[int, int] = (640, 480), file_format: str = "JPEG") -> bytes:
    """Make an image with detail everywhere, like a camera's."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(buffer, file_format)
    return buffer.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_seeds_own_request_is_generated_and_read_back(
    stack: Stack, client: requests.Session, generate: Generate
) -> None:
    response = generate(**SEED_REQUEST)
    assert response.status_code == 200, response.text
    job = response.json()
    (image,) = job["images"]
    assert (job["status"], job["cost_usd"], image["seed"]) == ("succeeded", 0.03, 4275432097)
    assert fetched(image).format == "JPEG"
    read = client.get(f"{stack.api_url}/jobs/{job['id']}", timeout=10)
    assert read.status_code == 200
    assert read.json()["images"][0]["sha256"] == image["sha256"]
    fetched(read.json()["images"][0])


def test_the_same_seed_generates_the_same_image(generate: Generate) -> None:
    """Its pixels; the files differ, since each names its job."""
    one, two = (fetched(generate(**SEED_REQUEST).json()["images"][0]) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert generate(**SEED_REQUEST, strength=0.5).status_code == 200  # unused without an image


def test_sixteen_images_fit_in_one_response(generate: Generate) -> None:
    job = generate(num_images=16, steps=7, image_encoding="png", seed=2**32 - 2).json()
    seeds = [image["seed"] for image in job["images"]]
    assert seeds == [2**32 - 2, 2**32 - 1, *range(1, 15)]
    assert len({fetched(image).tobytes() for image in job["images"]}) == 16
    assert fetched(job["images"][15]).format == "PNG"


def test_a_photograph_is_generated_over(generate: Generate) -> None:
    photo = photograph()
    wrapped = "data:;base64," + base64.encodebytes(photo).decode()
    options = {"strength": 0.3, "width": 1344, "height": 768, "seed": 7}
    images = [
        fetched(generate(init_image=text, **options).json()["images"][0])
        for text in (encoded(photo), wrapped)
    ]
    assert images[0].size == (1344, 768)
    assert images[0].tobytes() == images[1].tobytes()


def test_b64_json_carries_the_image_itself_also_when_it_is_read_again(
    stack: Stack, client: requests.Session, generate: Generate
) -> None:
    job = generate(response_format="b64_json").json()
    read = client.get(f"{stack.api_url}/jobs/{job['id']}", timeout=10).json()
    for (image,) in (job["images"], read["images"]):
        assert hashlib.sha256(base64.b64decode(image["image_b64"])).hexdigest() == image["sha256"]


def test_a_removed_image_is_reported(generate: Generate) -> None:
    response = generate(prompt="a sketch-unsafe fox")
    job = response.json()
    assert response.status_code == 200
    assert job["images"][0]["removed_for_safety"] is True
    assert (job["images"][0]["url"], job["images"][0]["image_b64"]) == (None, None)
    assert job["error"]["code"] == "content_policy"


def test_a_prompt_that_the_upstream_rejects_is_a_400_with_its_job(
    stack: Stack, client: requests.Session, generate: Generate
) -> None:
    response = generate(prompt="a sketch-forbidden fox")
    assert (response.status_code, response.json()["code"]) == (400, "content_policy")
    job = client.get(f"{stack.api_url}/jobs/{response.json()['job_id']}", timeout=10).json()
    assert (job["status"], job["cost_usd"]) == ("failed", 0)


def test_another_clients_job_is_a_404(
    stack: Stack, generate: Generate, new_token: Callable[[], str]
) -> None:
    job_id = generate().json()["id"]
    response = requests.get(
        f"{stack.api_url}/jobs/{job_id}",
        headers={"Authorization": f"Bearer {new_token()}"},
        timeout=10,
    )
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"prompt": "x" * 10_001}, "prompt"),
        ({"width": 512, "height": 512}, "width"),
        ({"seed": 0}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"num_images": 17}, "num_images"),
        ({"init_image": "not base64!"}, "init_image"),
        ({"init_image": encoded(photograph(file_format="GIF"))}, "init_image"),
        ({"loras": {"a": 1}}, "loras"),
    ],
)
def test_a_wrong_field_is_a_422_that_names_it(
    generate: Generate, fields: dict[str, Any], wrong: str
) -> None:
    response = generate(**fields)
    assert response.status_code == 422, response.text
    assert [field_error["loc"][1] for field_error in response.json()["detail"]] == [wrong]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"not json", 400, "invalid_json"),
        (b'{"prompt": "x", "cfg_scale": NaN}', 400, "invalid_json"),
        (b'{"prompt": "' + b"x" * 7_000_000 + b'"}', 413, "too_large"),
    ],
)
def test_an_invalid_body_is_rejected(
    stack: Stack, client: requests.Session, body: bytes, status: int, code: str
) -> None:
    response = client.post(
        f"{stack.api_url}/generate/sd3",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_an_image_says_that_it_is_made_by_an_algorithm_and_which_image_it_is(
    generate: Generate,
) -> None:
    """The sketch engine has no model, and says so. Its mark is signed, as `basic` says."""
    body = generate(prompt="a fox", seed=7, steps=1).json()
    [image] = body["images"]
    packet = fetched(image).info["xmp"].decode()
    assert f'DigitalSourceType="{SOURCE_TYPES}algorithmicMedia"' in packet
    assert (f'sd3:job="{body["id"]}"' in packet, 'sd3:mark="' in packet) == (True, True)
    assert (image["provenance"], "a fox" in packet) == ("basic", False)
