"""The tools of the playground: init images, verification, and a request as code."""

import json
import subprocess
from base64 import b64encode
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect

from local.stack import Stack
from tests.browser.conftest import Tab
from tests.browser.test_playground import enter
from tests.support.factories.images import png

SMALL: Final = png(256, 256)
LARGE: Final = png(1150, 1150)
"""A PNG of 4 MB."""
DROP: Final = """([selector, kind, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "fox.png", { type: "image/png" }));
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""
"""Drops or pastes an image, as a person does with the mouse or the keyboard."""


def init_image(page: Page) -> Locator:
    return page.locator("#field-init_image")


def pick(picker: Locator, data: bytes, name: str = "fox.png") -> None:
    picker.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def generated(page: Page, **fields: str) -> dict[str, Any]:
    """Fill in fields, generate, and wait for the image; the request that was sent."""
    page.get_by_label("Prompt", exact=True).fill("a fox in a hat")
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    with page.expect_request(lambda one: "idempotency-key" in one.headers) as sent:
        page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("img", name="Image: a fox in a hat")).to_have_class("loaded")
    body: dict[str, Any] = json.loads(sent.value.post_data or "")
    return body


@pytest.mark.parametrize("side", [256, 1060])
def test_an_init_image_of_up_to_3_4_megabytes_goes_with_the_request(
    stack: Stack, tab: Tab, side: int
) -> None:
    page = tab.page
    enter(page, stack, "drawer")
    expect(page.get_by_label("Strength")).to_be_hidden()
    pick(init_image(page), png(side, side))
    expect(page.locator("#init-name")).to_contain_text("MB")
    assert page.locator("#init-preview").evaluate("image => image.naturalWidth") == side
    body = generated(page, Strength="0.3")
    assert body["init_image"].startswith("data:image/png;base64,")
    assert body["strength"] == 0.3

    page.get_by_role("button", name="Remove the init image").click()
    expect(init_image(page)).to_be_focused()
    assert set(generated(page)) == {"prompt"}


def test_a_large_init_image_is_uploaded_by_the_form(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "photographer")
    pick(init_image(page), LARGE, "photo.png")
    expect(page.locator("#init-name")).to_have_text("photo.png · 4.0 MB")
    body = generated(page)
    assert set(body) == {"prompt", "init_image_id"}


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_can_be_dropped_and_pasted(stack: Stack, tab: Tab, way: str) -> None:
    page = tab.page
    enter(page, stack, "dropper")
    page.evaluate(DROP, ["#init", way, b64encode(SMALL).decode()])
    expect(page.locator("#init-name")).to_contain_text("fox.png")
    assert "init_image" in generated(page)


def test_an_earlier_job_comes_back_with_its_init_image(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "returner")
    pick(init_image(page), SMALL)
    expect(page.locator("#init-name")).to_contain_text("MB")
    first = generated(page, Strength="0.4")
    page.get_by_role("button", name="Remove the init image").click()
    page.get_by_role("button", name="a fox in a hat, succeeded").click()
    expect(page.get_by_label("Strength")).to_have_value("0.4")
    assert generated(page) == first


@pytest.mark.parametrize(
    ("data", "field", "said"),
    [
        (b"no image", "init_image", "not a PNG"),
        (b"no image" * 500_000, "init_image_id", "not a PNG"),
    ],
    ids=["small", "uploaded"],
)
def test_what_is_no_image_is_said_at_the_init_image(
    stack: Stack, tab: Tab, data: bytes, field: str, said: str
) -> None:
    page, tab.expected = tab.page, ["422 (Unprocessable Entity)", "422: "]
    enter(page, stack, "mistaken")
    pick(init_image(page), data)
    expect(page.locator("#init-name")).to_contain_text("MB")
    page.get_by_label("Prompt", exact=True).fill("a fox")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(f"#field-{field}-fault")).to_contain_text(said)


def test_an_image_that_is_too_large_is_not_uploaded(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "panorama")
    pick(init_image(page), bytes(20_100_000))
    expect(page.locator("#init-problem")).to_have_text(
        "The image has 20.1 MB, and 20.0 MB is the most."
    )
    assert set(generated(page)) == {"prompt"}


def test_a_result_is_verified_and_becomes_the_init_image(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "verifier")
    generated(page, Seed="7")
    page.get_by_role("button", name="Verify").click()
    verified = page.locator("#verified")
    expect(verified).to_contain_text("This service generated this file, and it is unchanged.")
    expect(verified).to_contain_text("image 1, seed 7.")
    page.get_by_role("button", name="Use as init image").click()
    expect(page.get_by_label("Strength")).to_be_focused()
    assert "init_image" in generated(page)

    page.get_by_role("button", name="Change token").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert verified.text_content() == ""
    assert page.evaluate("playground.init") is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(1220, 1220), "It does not say that it is AI-made."),
        (bytes(4_500_001), "4.5 MB is the most"),
    ],
)
def test_a_foreign_file_is_verified(stack: Stack, tab: Tab, data: bytes, said: str) -> None:
    page = tab.page
    enter(page, stack, "sceptic")
    pick(page.locator("#verify-file"), data)
    expect(page.locator("#verified")).to_contain_text(said)


def test_what_cannot_be_verified_is_said_in_the_words_of_the_api(stack: Stack, tab: Tab) -> None:
    page, tab.expected = tab.page, ["422 (Unprocessable Entity)", "422: "]
    enter(page, stack, "sceptic")
    pick(page.locator("#verify-file"), b"no image", "<b>notes</b>.txt")
    expect(page.locator("#verified")).to_contain_text("PNG")
    expect(page.locator("#verified")).to_contain_text("<b>notes</b>.txt")


def test_the_request_is_copied_as_code_without_the_token(stack: Stack, tab: Tab) -> None:
    page = tab.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    enter(page, stack, "coder")
    page.get_by_label("Prompt", exact=True).fill("it's a $HOME fox\n</script>")
    page.get_by_label("Seed", exact=True).fill("9")
    page.get_by_text("Copy as code").click()
    texts = {}
    for label in ("curl", "Python", "JavaScript", "OpenAI SDK"):
        page.get_by_role("button", name=f"Copy as {label}").click()
        expect(page.locator("#copied")).to_contain_text(f"Copied as {label}")
        texts[label] = page.evaluate("navigator.clipboard.readText()")
        assert texts[label] == page.locator("#code").text_content()
        assert "sd3_" not in texts[label]
    environment = {"PATH": "/usr/bin:/bin", "SD3_API_TOKEN": stack.deployed.issue_token("coder")}
    answer = subprocess.run(  # noqa: S603 - all of it is ours
        ["/bin/bash", "-c", texts["curl"]], env=environment, capture_output=True, check=True
    )
    assert json.loads(answer.stdout)["images"][0]["seed"] == 9


def test_code_that_may_not_be_copied_is_selected(stack: Stack, tab: Tab) -> None:
    page = tab.page
    page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error());")
    enter(page, stack, "coder")
    page.get_by_text("Copy as code").click()
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#copied")).to_contain_text("copy it yourself")
    assert "curl" in page.evaluate("getSelection().toString()")


def test_the_tools_are_no_wider_than_the_smallest_screen(stack: Stack, tab: Tab) -> None:
    page = tab.page
    page.set_viewport_size({"width": 320, "height": 800})
    enter(page, stack, "narrow")
    pick(init_image(page), SMALL, f"{'photo' * 20}.png")
    expect(page.locator("#init-name")).to_contain_text("MB")
    pick(page.locator("#verify-file"), SMALL, f"{'photo' * 20}.png")
    expect(page.locator("#verified")).to_contain_text("AI-made")
    page.get_by_label("Prompt", exact=True).fill("w" * 300)
    page.get_by_text("Copy as code").click()
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#code")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
