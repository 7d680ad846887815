"""Requests that name their init image by its URL, which the deployed function fetches."""

from collections.abc import Callable
from typing import Any, Final

import pytest
import requests

from local.stack import Stack

GENERATE: Final = {"prompt": "a fox", "seed": 7, "steps": 2, "strength": 0.3}


@pytest.fixture
def generate(stack: Stack, client: requests.Session) -> Callable[..., requests.Response]:
    def call(**fields: Any) -> requests.Response:
        return client.post(f"{stack.api_url}/generate/sd3", json=GENERATE | fields, timeout=60)

    return call


def test_a_link_to_one_image_is_the_init_image_of_the_next(
    generate: Callable[..., requests.Response],
) -> None:
    (first,) = generate(image_encoding="png").json()["images"]
    response = generate(init_image_url=first["url"])
    assert response.status_code == 200, response.text
    (over,) = response.json()["images"]
    (plain,) = generate().json()["images"]
    assert over["sha256"] != plain["sha256"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://169.254.169.254/latest/meta-data/", "its host is not a public address"),
        ("https://[::1]/", "its host should be a name or an IPv4 address"),
        ("http://image.example/a.png", "it should begin with https://"),
        ("https://no-such-host.invalid/a.png", "it could not be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_an_error_of_its_field(
    generate: Callable[..., requests.Response], url: str, reason: str
) -> None:
    response = generate(init_image_url=url)
    assert response.status_code == 422
    (error,) = response.json()["detail"]
    assert (error["loc"], error["msg"]) == (["body", "init_image_url"], reason)
