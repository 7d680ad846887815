"""A request that names its init image by its URL, which the deployed function fetches."""

import base64
import io
from typing import Any, Final

import requests
from PIL import Image

from local.stack import Stack

FOX: Final = {"prompt": "a fox", "seed": 7, "steps": 2, "strength": 0.3, "image_encoding": "png"}


def test_a_link_to_one_image_is_the_init_image_of_the_next(
    stack: Stack, client: requests.Session
) -> None:
    def generate(**fields: Any) -> requests.Response:
        return client.post(f"{stack.api_url}/generate/sd3", json=FOX | fields, timeout=60)

    def generated(**fields: Any) -> tuple[str, bytes]:
        """Return the link to an image, and its file."""
        response = generate(**fields)
        assert response.status_code == 200, response.text
        link: str = response.json()["images"][0]["url"]
        return link, requests.get(link, timeout=30).content

    link, plain = generated()
    _, by_url = generated(init_image_url=link)
    _, inline = generated(init_image=base64.b64encode(plain).decode())
    assert _pixels(by_url) == _pixels(inline) != _pixels(plain)
    refused = generate(init_image_url="https://169.254.169.254/latest/meta-data/")
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["detail"]] == [["body", "init_image_url"]]


def _pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()
