"""OpenAI's SDK for Python, LangChain and LiteLLM, after a change of address and key."""

import litellm
import openai
import pytest
import requests
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from openai.types import Image, ImagesResponse

from tests.support.factories.images import png
from tests.support.openai_clients import Door, Picture
from tests.support.operator import Operator

SQUARE = Picture("JPEG", (1024, 1024))


def data_of(answer: ImagesResponse) -> list[Image]:
    return answer.data or []


@pytest.fixture
def sdk(door: Door) -> openai.OpenAI:
    return openai.OpenAI(base_url=door.url, api_key=door.token)


def test_four_images_come_inline_and_by_link(sdk: openai.OpenAI, http: requests.Session) -> None:
    made = sdk.images.generate(model="gpt-image-1.5", prompt="a fox", n=4, quality="high")
    assert [Picture.read(item.b64_json) for item in data_of(made)] == [SQUARE] * 4
    assert {Picture.read(http.get(item.url or "").content) for item in data_of(made)} == {SQUARE}
    assert len({item.b64_json for item in data_of(made)}) == 4


def test_an_edit_takes_a_file_and_a_list_of_one(sdk: openai.OpenAI) -> None:
    for image in (("fox.png", png()), [("fox.png", png())]):
        edited = sdk.images.edit(
            image=image, prompt="a fox", n=2, size="512x512", response_format="b64_json",
            output_format="png",
        )  # fmt: skip
        small = Picture("PNG", (512, 512))
        assert [Picture.read(item.b64_json) for item in data_of(edited)] == [small, small]
        assert [item.url for item in data_of(edited)] == [None, None]


def test_an_edit_that_is_streamed_is_one_event(sdk: openai.OpenAI) -> None:
    [event] = sdk.images.edit(image=("fox.png", png()), prompt="a fox", stream=True)
    assert event.type == "image_edit.completed"
    assert Picture.read(event.b64_json) == SQUARE


def test_a_mask_and_two_images_are_refused_by_name(sdk: openai.OpenAI) -> None:
    fox = ("fox.png", png())
    with pytest.raises(openai.BadRequestError) as masked:
        sdk.images.edit(image=fox, mask=fox, prompt="a fox")
    with pytest.raises(openai.BadRequestError) as many:
        sdk.images.edit(image=[fox, fox], prompt="a fox")
    assert [error.value.param for error in (masked, many)] == ["mask", "image"]
    assert {error.value.code for error in (masked, many)} == {"unsupported_value"}


def test_limits_are_the_errors_of_the_sdk(operator: Operator, door: Door) -> None:
    def client(name: str, **limits: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=door.url, api_key=operator.token(name, **limits))

    poor = client("poor", BUDGET="0.03")
    poor.images.generate(prompt="a fox")
    with pytest.raises(openai.APIStatusError) as spent:
        poor.images.generate(prompt="a fox")
    assert (spent.value.status_code, spent.value.code) == (402, "insufficient_quota")

    busy = client("busy", PER_MINUTE="1").with_options(max_retries=0)
    busy.images.generate(prompt="a fox")
    with pytest.raises(openai.RateLimitError) as limited:
        busy.images.generate(prompt="a fox")
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["Retry-After"]) > 0

    reader = client("reader", SCOPES="read")
    assert [model.id for model in reader.models.list()] == ["sd3"]
    with pytest.raises(openai.PermissionDeniedError):
        reader.images.generate(prompt="a fox")
    with pytest.raises(openai.NotFoundError) as unknown:
        reader.models.retrieve("gpt-image-1")
    assert unknown.value.status_code == 404


def test_langchain_gets_links(door: Door, http: requests.Session) -> None:
    wrapper = DallEAPIWrapper(base_url=door.url, api_key=door.token, n=2, size="1792x1024")
    links = wrapper.run("a fox").split("\n")
    assert [Picture.read(http.get(link).content).size for link in links] == [(1344, 768)] * 2


@pytest.mark.parametrize("model", ["openai/sd3", "openai/gpt-image-1"])
def test_litellm_generates_and_edits(model: str, door: Door, http: requests.Session) -> None:
    where = {"model": model, "api_base": door.url, "api_key": door.token}
    made = litellm.image_generation(prompt="a fox", size="512x512", n=2, **where)
    small = Picture("JPEG", (512, 512))
    assert [Picture.read(item.b64_json) for item in data_of(made)] == [small, small]
    assert [Picture.read(http.get(item.url or "").content) for item in data_of(made)] == [
        small,
        small,
    ]
    edited = litellm.image_edit(image=png(), prompt="a fox", **where)
    assert Picture.read(edited.data[0].b64_json) == SQUARE


def test_litellm_raises_the_errors_of_openais_sdk(door: Door) -> None:
    with pytest.raises(openai.BadRequestError, match="Invalid 'size'"):
        litellm.image_generation(
            model="openai/sd3", api_base=door.url, api_key=door.token, prompt="a fox", size="abc"
        )
