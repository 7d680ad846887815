"""A deployed stack with C2paSecretArn: each image that it stores is signed."""

from collections.abc import Callable, Iterator

import pytest
import requests

from local.environment import ROOT
from local.stack import Stack, running
from tests.e2e.conftest import http, new_token
from tests.support.c2pa_reader import Manifest
from tests.support.factories.signing_certificates import issued, root, secret

__all__ = ["http", "new_token"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    (ROOT / ".local").mkdir(exist_ok=True)
    with running(
        tmp_path_factory.mktemp("stack"),
        edge_port=0,
        model_port=0,
        report=lambda _: None,
        c2pa=secret(issued(root())),
    ) as stack:
        yield stack


@pytest.mark.parametrize("prefer", ["", "respond-async"], ids=["generate", "worker"])
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_an_image_is_signed_whoever_generates_it(
    stack: Stack,
    http: requests.Session,
    new_token: Callable[[], str],
    prefer: str,
    encoding: str,
) -> None:
    http.headers.update({"Authorization": f"Bearer {new_token()}", "Prefer": prefer})
    body = {"prompt": "a cat", "steps": 1, "image_encoding": encoding}
    job = http.post(f"{stack.api_url}/generate/sd3", json=body, timeout=60).json()
    http.headers["Prefer"] = "wait=20"
    job = http.get(f"{stack.api_url}/jobs/{job['id']}", timeout=60).json()
    [image] = job["images"]
    assert image["c2pa"] is True
    data = requests.get(image["url"], timeout=60).content
    manifest = Manifest.read(data, f"image/{encoding}", trusted=root())
    assert (manifest.state, manifest.problems) == ("Trusted", [])
