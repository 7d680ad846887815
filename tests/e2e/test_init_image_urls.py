"""A request that names its init image by its URL, which the deployed function fetches."""

from typing import Any, Final

import requests

from local.stack import Stack

FOX: Final = {"prompt": "a fox", "seed": 7, "steps": 2, "strength": 0.3}


def test_a_link_to_one_image_is_the_init_image_of_the_next(
    stack: Stack, client: requests.Session
) -> None:
    def generate(**fields: Any) -> requests.Response:
        return client.post(f"{stack.api_url}/generate/sd3", json=FOX | fields, timeout=60)

    (plain,) = generate(image_encoding="png").json()["images"]
    over = generate(image_encoding="png", init_image_url=plain["url"])
    assert over.status_code == 200, over.text
    assert over.json()["images"][0]["sha256"] != plain["sha256"]
    refused = generate(init_image_url="https://169.254.169.254/latest/meta-data/")
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["detail"]] == [["body", "init_image_url"]]
