"""OpenAI's SDK for JavaScript and Vercel's AI SDK, on Node, after a change of address and key."""

import base64
from typing import Any, Final

import pytest
import requests

from tests.support.factories.images import png
from tests.support.openai_clients import Door, Picture, call_node

AI_SDKS: Final = ("@ai-sdk/openai", "@ai-sdk/openai-compatible")
SQUARE: Final = Picture("JPEG", (1024, 1024))
FILE: Final = base64.b64encode(png()).decode()


def values(door: Door, *calls: dict[str, Any]) -> list[Any]:
    outcomes = call_node(door, calls)
    assert [outcome for outcome in outcomes if "error" in outcome] == []
    return [outcome["value"] for outcome in outcomes]


def openai(method: str, **request: Any) -> dict[str, Any]:
    return {"client": "openai", "method": method, "request": {"prompt": "a fox"} | request}


def ai_sdk(client: str, model: str = "sd3", **request: Any) -> dict[str, Any]:
    return {"client": client, "model": model, "request": {"prompt": "a fox"} | request}


def test_openais_sdk_generates_edits_streams_and_lists(door: Door, http: requests.Session) -> None:
    unasked, links, inline, edited, events, models = values(
        door,
        openai("generate", model="gpt-image-1", size="1536x1024"),
        openai("generate", model="dall-e-3", n=2, response_format="url"),
        openai("generate", n=2, size="256x256", response_format="b64_json"),
        openai("edit", image=FILE, size="1024x1024"),
        openai("generate", stream=True),
        openai("models"),
    )
    assert unasked["size"] == "1216x832"
    assert Picture.read(unasked["data"][0]["b64_json"]) == Picture("JPEG", (1216, 832))
    assert all("b64_json" not in item for item in links["data"])
    files = {http.get(item["url"]).content for item in links["data"]}
    assert [Picture.read(file) for file in files] == [SQUARE, SQUARE]
    small = Picture("JPEG", (256, 256))
    assert [Picture.read(item["b64_json"]) for item in inline["data"]] == [small, small]
    assert inline["size"] == "256x256"
    assert Picture.read(edited["data"][0]["b64_json"]) == SQUARE
    [event] = events
    assert event["type"] == "image_generation.completed"
    assert Picture.read(event["b64_json"]) == SQUARE
    assert [model["id"] for model in models] == ["sd3"]


def test_openais_sdk_throws_its_own_errors(door: Door) -> None:
    wrong, unmet = call_node(
        door, [openai("generate", size="abc"), openai("generate", background="transparent")]
    )
    [stranger] = call_node(door._replace(token="sk-of-openai"), [openai("generate")])
    shown = ("kind", "status", "param", "code")
    assert [tuple(each["error"][name] for name in shown) for each in (wrong, unmet)] == [
        ("BadRequestError", 400, "size", "invalid_value"),
        ("BadRequestError", 400, "background", "unsupported_value"),
    ]
    assert (stranger["error"]["kind"], stranger["error"]["code"]) == (
        "AuthenticationError",
        "invalid_api_key",
    )


@pytest.mark.parametrize("client", AI_SDKS)
@pytest.mark.parametrize("model", ["sd3", "gpt-image-1.5"])
def test_generate_image_of_the_ai_sdk(client: str, model: str, door: Door) -> None:
    wide, three = values(door, ai_sdk(client, model, size="1792x1024"), ai_sdk(client, model, n=3))
    assert [Picture.read(image) for image in wide["images"]] == [Picture("JPEG", (1344, 768))]
    assert wide["types"] == ["image/jpeg"]
    # By a name that it does not know, the SDK makes three calls of one image at the same time.
    assert [Picture.read(image) for image in set(three["images"])] == [SQUARE] * 3


@pytest.mark.parametrize("client", AI_SDKS)
def test_the_ai_sdk_edits(client: str, door: Door) -> None:
    [edited] = values(door, ai_sdk(client, "gpt-image-1.5", images=[FILE]))
    assert [Picture.read(image) for image in edited["images"]] == [SQUARE]


@pytest.mark.parametrize("client", AI_SDKS)
def test_the_ai_sdk_says_what_is_wrong(client: str, door: Door) -> None:
    [wrong] = call_node(door, [ai_sdk(client, size="64x4096")])
    assert wrong["error"]["status"] == 400
    assert "Invalid 'size'" in wrong["error"]["message"]
