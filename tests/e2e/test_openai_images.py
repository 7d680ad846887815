"""OpenAI's own SDK for Python, as its users call the deployed stack."""

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import openai
import pytest
from PIL import Image

from local.stack import Stack
from tests.support.factories.images import png
from tests.support.openai_sdk import images_of, python_client

PROMPT: Final = "a lighthouse at dusk"


def opened(data: bytes) -> tuple[str | None, tuple[int, int]]:
    file = Image.open(io.BytesIO(data))
    return file.format, file.size


def test_the_sdk_generates_edits_and_streams(stack: Stack, new_token: Callable[[], str]) -> None:
    with httpx.Client(trust_env=False) as connection:
        sdk = python_client(stack.api_url, new_token(), connection)
        [model] = sdk.models.list()
        assert sdk.models.retrieve(model.id) == model

        made = sdk.images.generate(model=model.id, prompt=PROMPT, n=2, size="1792x1024")
        assert made.to_dict().items() >= {
            "size": "1344x768", "output_format": "jpeg", "ignored": ["size"]
        }.items()  # fmt: skip
        for item in images_of(made):
            assert opened(base64.b64decode(item["b64_json"])) == ("JPEG", (1344, 768))
            assert opened(connection.get(item["url"]).content) == ("JPEG", (1344, 768))

        small = sdk.images.generate(
            prompt=PROMPT, size="512x512", response_format="url", output_format="png"
        )
        [item] = images_of(small)
        assert (small.size, "b64_json" in item) == ("512x512", False)
        assert opened(connection.get(item["url"]).content) == ("PNG", (512, 512))

        edited = sdk.images.edit(
            image=("../../a fox.png", png(640, 480)), prompt=PROMPT, response_format="b64_json"
        )
        [item] = images_of(edited)
        assert opened(base64.b64decode(item["b64_json"])) == ("JPEG", (1024, 1024))

        [event] = sdk.images.generate(prompt=PROMPT, stream=True)
        assert event.type == "image_generation.completed"
        assert opened(base64.b64decode(event.b64_json)) == ("JPEG", (1024, 1024))


def test_the_sdk_raises_its_own_errors(stack: Stack, new_token: Callable[[], str]) -> None:
    with httpx.Client(trust_env=False) as connection:
        sdk = python_client(stack.api_url, new_token(), connection)
        with pytest.raises(openai.BadRequestError) as wrong:
            sdk.images.generate(prompt=PROMPT, n=17)
        assert (wrong.value.param, wrong.value.code) == ("n", "integer_above_max_value")
        stranger = python_client(stack.api_url, "sk-of-openai", connection)
        with pytest.raises(openai.AuthenticationError) as unknown:
            stranger.images.generate(prompt=PROMPT)
        assert unknown.value.code == "invalid_api_key"


def test_two_honest_identical_calls_at_once_are_two_jobs(
    stack: Stack, new_token: Callable[[], str]
) -> None:
    with httpx.Client(trust_env=False) as connection, ThreadPoolExecutor(2) as pool:
        sdk = python_client(stack.api_url, new_token(), connection)
        calls = [pool.submit(sdk.images.generate, prompt=PROMPT) for _ in range(2)]
        answers = [call.result() for call in calls]
    assert len({answer.to_dict()["id"] for answer in answers}) == 2
    assert len({images_of(answer)[0]["b64_json"] for answer in answers}) == 2
