"""An image that takes longer than the gateway waits, for clients that then repeat their call."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import Any, Final

import litellm
import openai

from local.stack import Stack
from tests.support.openai_clients import Door, Picture, call_node
from tests.support.servers.counting_sd3 import HELD_SEED, CountingSd3
from tests.support.servers.cutting_gateway import cutting

SLOW: Final = {"seed": HELD_SEED}
SECONDS: Final = 40


def by_python(door: Door) -> str | None:
    sdk = openai.OpenAI(base_url=door.url, api_key=door.token)
    made = sdk.images.generate(prompt="a fox", extra_body=SLOW)
    return made.data[0].b64_json if made.data else None


def by_litellm(door: Door) -> str:
    made = litellm.image_generation(
        prompt="a fox", model="openai/sd3", api_base=door.url, api_key=door.token, extra_body=SLOW
    )
    return str(made.data[0].b64_json)


def by_javascript(door: Door) -> str:
    call = {"client": "openai", "method": "generate", "request": {"prompt": "a fox"} | SLOW}
    return str(node(door, call)["data"][0]["b64_json"])


def by_the_ai_sdk(door: Door) -> str:
    request = {"prompt": "a fox", "providerOptions": {"sd3": SLOW}}
    call = {"client": "@ai-sdk/openai-compatible", "model": "sd3", "request": request}
    return str(node(door, call)["images"][0])


def node(door: Door, call: dict[str, Any]) -> Any:
    [outcome] = call_node(door, [call])
    assert "value" in outcome, outcome
    return outcome["value"]


def test_each_client_repeats_its_call_and_pays_for_one_image(
    stack: Stack, new_token: Callable[[], str], upstream: CountingSd3
) -> None:
    clients = (by_python, by_litellm, by_javascript, by_the_ai_sdk)
    before = upstream.paid[HELD_SEED]
    upstream.release.clear()
    Timer(SECONDS, upstream.release.set).start()
    with cutting(stack.api_url) as gateway, ThreadPoolExecutor(len(clients)) as threads:
        doors = [Door(gateway.url, new_token()) for _ in clients]
        images = [threads.submit(call, door) for call, door in zip(clients, doors, strict=True)]
        pictures = [Picture.read(image.result()) for image in images]
    assert pictures == [Picture("JPEG", (1024, 1024))] * len(clients)
    # Each was told once that it takes longer, and has asked again.
    assert sorted(gateway.cut_tokens) == sorted(f"Bearer {door.token}" for door in doors)
    assert upstream.paid[HELD_SEED] - before == len(clients)
