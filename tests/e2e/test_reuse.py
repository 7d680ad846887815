"""The same images again, through the deployed stack whose generate function reuses results."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.support.functions import configure


@pytest.fixture
def reusing(stack: Stack) -> Iterator[None]:
    """Let the generate function reuse results, as ReuseResults=seeded does."""
    functions = stack.deployed.client("lambda")
    name = stack.deployed.resource("GenerateFunction")
    was = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    configure(functions, name, Environment={"Variables": was | {"REUSE_RESULTS": "seeded"}})
    yield
    configure(functions, name, Environment={"Variables": was})


@pytest.mark.usefixtures("reusing")
def test_a_client_gets_its_own_images_again_for_nothing(
    stack: Stack, client: requests.Session, new_token: Callable[[], str]
) -> None:
    def generate(seed: int, **headers: str) -> requests.Response:
        body = {"prompt": "a fox", "seed": seed, "num_images": 2}
        url = f"{stack.api_url}/generate/sd3"
        return client.post(url, json=body, headers=headers, timeout=60)

    first, again = generate(7).json(), generate(7)
    job: dict[str, Any] = again.json()
    assert (first["cost_usd"], first["reused_from"]) == (0.06, None)
    assert (again.status_code, job["cost_usd"], job["reused_from"]) == (200, 0, first["id"])
    assert int(again.headers["Age"]) < 60
    assert client.delete(f"{stack.api_url}/jobs/{first['id']}", timeout=10).status_code == 204
    for one in job["images"]:
        image = requests.get(one["url"], timeout=10)
        assert image.headers["Content-Type"] == one["content_type"] == "image/jpeg"
        assert hashlib.sha256(image.content).hexdigest() == one["sha256"]
    anew = generate(7, **{"Cache-Control": "no-cache"}).json()
    assert (anew["cost_usd"], anew["reused_from"]) == (0.06, None)
    client.headers["Authorization"] = f"Bearer {new_token()}"
    refused = generate(7, **{"Cache-Control": "only-if-cached"})
    assert (refused.status_code, refused.json()["code"]) == (412, "not_cached")
