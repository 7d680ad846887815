"""OctoAI's own SDKs after a change of address, as their users call the deployed stack."""

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
from PIL import Image

from local.stack import Stack
from tests.support.octoai_sdks import Call, call_typescript, python_client

LONG: Final[dict[str, Any]] = {"num_images": 8, "width": 1536, "height": 640}
"""More than the service generates while its caller waits: by default, 120 steps in all."""


def decoded(images: Sequence[dict[str, Any]], *, size: tuple[int, int]) -> set[int]:
    """Check the base64 of each image against the rest of its entry; return the seeds."""
    for image in images:
        data = base64.b64decode(image["image_b64"], validate=True)
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
        file = Image.open(io.BytesIO(data))
        assert (file.format, file.size) == ("JPEG", size)
    return {image["seed"] for image in images}


def test_the_sdk_for_python_gets_its_images(stack: Stack, new_token: Callable[[], str]) -> None:
    with httpx.Client(trust_env=False) as connection:
        sdk = python_client(stack.api_url, new_token(), connection).image_gen
        one = sdk.generate_sd3(prompt="a fox", seed=4275432097)
        assert decoded([one.images[0].dict()], size=(1024, 1024)) == {4275432097}
        many = sdk.generate_sd3(prompt="a fox", **LONG)
        assert len(decoded([image.dict() for image in many.images], size=(1536, 640))) == 8


def test_the_sdk_for_typescript_gets_its_images(stack: Stack, new_token: Callable[[], str]) -> None:
    requests: list[dict[str, Any]] = [
        {"prompt": "a fox", "seed": 4275432097},
        {"prompt": "a fox", "numImages": 8, "width": 1536, "height": 640},
        {"prompt": "a fox", "seed": 0},
    ]
    token = new_token()
    one, many, wrong = call_typescript([Call(stack.api_url, each, token) for each in requests])
    assert decoded(_named(one), size=(1024, 1024)) == {4275432097}
    assert len(decoded(_named(many), size=(1536, 640))) == 8
    assert wrong["error"]["kind"] == "UnprocessableEntityError"
    assert wrong["error"]["body"]["detail"][0]["loc"] == ["body", "seed"]


def _named(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the images of the SDK for TypeScript, which renames the field of the base64."""
    images = outcome["response"]["images"]
    return [image | {"image_b64": image["imageB64"]} for image in images]
