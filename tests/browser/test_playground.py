"""The page at /playground in a real browser: what a person does there, and what goes wrong."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from local.stack import Stack
from tests.browser.conftest import Tab

UNPROCESSABLE: Final = "422 (Unprocessable Entity)"
"""A line that Chromium writes for every such answer."""

GENERATE: Final = "**/generate/sd3"


def enter(page: Page, stack: Stack, client: str = "painter", **limits: int) -> None:
    """Open the page, and give it a token of `client`."""
    page.goto(f"{stack.api_url}/playground")
    page.get_by_label("Token").fill(stack.deployed.tokens().issue(client, limits=limits))
    page.get_by_role("button", name="Use this token").click()
    expect(prompt(page)).to_be_focused()


def prompt(page: Page) -> Locator:
    return page.get_by_label("Prompt", exact=True)


def generate(page: Page, text: str, **fields: str) -> None:
    prompt(page).fill(text)
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Generate").click()


def test_a_prompt_becomes_an_image_whose_seed_can_be_used_again(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack)
    generate(page, "a lighthouse at dusk", Seed="7")
    image = page.get_by_role("img", name="Image: a lighthouse at dusk")
    expect(image).to_have_class("loaded")
    assert image.evaluate("image => image.naturalWidth") == 1024
    expect(page.get_by_role("status")).to_have_text("1 image for $0.03")
    page.get_by_label("Seed", exact=True).fill("")
    page.get_by_role("button", name="Seed 7").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")


def test_the_price_is_there_before_anything_is_generated(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack)
    expect(page.locator("#price")).to_have_text("$0.03")
    page.get_by_label("Images", exact=True).fill("16")
    expect(page.locator("#price")).to_have_text("$0.48")
    assert page.get_by_role("figure").count() == 0


def test_every_fault_is_at_its_field_and_the_first_one_is_focused(stack: Stack, tab: Tab) -> None:
    page, tab.expected = tab.page, [UNPROCESSABLE, "422: "]
    enter(page, stack)
    page.get_by_text("More", exact=True).click()
    generate(page, " ", Steps="900")
    expect(page.get_by_role("alert")).to_contain_text("validation_error")
    expect(prompt(page)).to_be_focused()
    expect(prompt(page)).to_have_accessible_description("should have a visible character")
    expect(page.get_by_label("Steps")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Steps").fill("20")
    expect(page.locator(".steps .fault")).to_be_empty()
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_budget_that_is_too_small_is_said_in_the_words_of_the_api(stack: Stack, tab: Tab) -> None:
    page, tab.expected = tab.page, ["402 (Payment Required)", "402: "]
    enter(page, stack, "poor", daily_budget_micros=10_000)
    expect(page.locator("#usage")).to_have_text("poor · $0.01 left today")
    expect(page.locator("#quote")).to_contain_text("$0.01")
    generate(page, "a fox")
    expect(page.get_by_role("alert")).to_contain_text("budget_exceeded")
    expect(page.get_by_role("button", name="Generate")).to_have_attribute("aria-disabled", "false")


def test_a_queued_job_is_followed_to_its_images(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "waiter")
    page.get_by_label("Queue it").check()
    generate(page, "a village in the snow", Images="2")
    expect(page.locator("img.loaded")).to_have_count(2)
    expect(page.get_by_role("status")).to_have_text("2 images for $0.06")


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({}, "Waiting in the queue"),
        ({"queue_position": 0, "eta_seconds": 3.2}, "Next in the queue, about 3 s"),
        ({"queue_position": 40, "eta_seconds": 400}, "40 jobs ahead, about 7 min"),
        ({"queue_position": 1000}, "1000 or more jobs ahead"),
        ({"status": "running", "progress": {"done": 3, "of": 8}}, "Generating: 3 of 8 images"),
    ],
)  # fmt: skip
def test_what_the_api_knows_of_a_waiting_job_is_shown(
    stack: Stack, tab: Tab, shown: dict[str, Any], said: str
) -> None:
    page = tab.page
    enter(page, stack, "waiter")
    page.route("**/jobs/x1", answered(lambda job: job | shown, **JOB))
    page.route(GENERATE, answered(lambda job: job, status_code=202, **JOB))
    generate(page, "a fox")
    expect(page.get_by_role("status")).to_have_text(said)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()


JOB: Final[dict[str, Any]] = {
    "id": "x1", "status": "queued", "created_at": "2026-11-28T00:00:00.000000Z", "images": [],
    "prediction_time_ms": 0, "cost_usd": 0.03, "upstream": None, "ignored": [], "error": None,
}  # fmt: skip


def answered(
    change: Callable[[dict[str, Any]], dict[str, Any]], *, status_code: int = 200, **job: Any
) -> Callable[[Route], None]:
    """Answer with a job in the place of the API; a dry run is the API's own."""

    def answer(route: Route) -> None:
        if "dry_run" in (route.request.post_data or ""):
            route.fallback()
        else:
            headers = {"Content-Type": "application/json", "Retry-After": "1"}
            route.fulfill(status=status_code, headers=headers, body=json.dumps(change(job)))

    return answer


def test_a_waiting_job_can_be_canceled(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "canceler")
    page.route(GENERATE, answered(lambda job: job, status_code=202, **JOB))
    page.route("**/jobs/x1", answered(lambda job: job, **JOB))
    page.route("**/jobs/x1/cancel", answered(lambda job: job | {"status": "canceled"}, **JOB))
    generate(page, "a fox")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Canceled")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()


def test_a_request_without_an_answer_is_sent_again_with_its_key(stack: Stack, tab: Tab) -> None:
    page, tab.expected = tab.page, ["failed: ", "net::ERR_FAILED"]
    enter(page, stack, "offline")
    keys: list[str] = []

    def lose(route: Route) -> None:
        if "dry_run" in (route.request.post_data or ""):
            route.fallback()
        else:
            keys.append(route.request.headers["idempotency-key"])
            route.abort() if len(keys) == 1 else route.fallback()

    page.route(GENERATE, lose)
    generate(page, "a fox")
    expect(page.get_by_role("alert")).to_contain_text("paid once")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("img.loaded")).to_have_count(1)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#jobs .entry")).to_have_count(2)
    assert keys[0] == keys[1] != keys[2]


def test_markup_in_a_prompt_stays_text(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "markup")
    text = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    generate(page, text)
    expect(page.get_by_role("img", name=f"Image: {text}")).to_have_class("loaded")
    entry = page.locator("#jobs .entry").first
    expect(entry).to_have_accessible_name(re.compile(f"^{re.escape(text)}, succeeded"))
    assert page.title() == "SD3 playground"


def test_an_earlier_job_is_shown_again_with_its_request(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "historian")
    generate(page, "the first", Seed="5")
    expect(page.get_by_role("img", name="Image: the first")).to_have_class("loaded")
    generate(page, "the second", Seed="6")
    expect(page.get_by_role("img", name="Image: the second")).to_have_class("loaded")
    page.get_by_role("button", name="the first, succeeded").click()
    expect(page.get_by_role("img", name="Image: the first")).to_have_class("loaded")
    expect(prompt(page)).to_have_value("the first")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("5")


def test_the_keyboard_alone_is_enough(stack: Stack, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{stack.api_url}/playground")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.insert_text(stack.deployed.issue_token("typist"))
    page.keyboard.press("Enter")
    expect(prompt(page)).to_be_focused()
    page.keyboard.type("a fox")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")  # to the size before the square
    page.keyboard.press("Control+Enter")
    image = page.get_by_role("img", name="Image: a fox")
    expect(image).to_have_class("loaded")
    assert image.evaluate("image => [image.width, image.height]") != [1024, 1024]


def test_a_token_is_in_memory_unless_the_tab_is_to_remember_it(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack)
    stored = "[...Object.values(localStorage), ...Object.values(sessionStorage)].join()"
    assert page.evaluate(stored) == ""
    page.reload()
    page.get_by_label("Token").fill(token := stack.deployed.issue_token("painter"))
    page.get_by_label("Remember it").check()
    page.get_by_role("button", name="Use this token").click()
    expect(prompt(page)).to_be_focused()
    page.reload()
    expect(prompt(page)).to_be_focused()
    assert token in page.evaluate("Object.values(sessionStorage).join()")
    assert page.evaluate("Object.values(localStorage).join()") == ""
    page.get_by_role("button", name="Change token").click()
    expect(page.get_by_label("Token")).to_have_value("")
    assert page.evaluate(stored) == ""
    assert not [url for url in tab.urls if token in url]


@pytest.mark.parametrize("token", ["sd3_" + "x" * 43, "nonsense", "two words", "tökén"])
def test_a_token_that_the_service_does_not_know_leads_nowhere(
    stack: Stack, tab: Tab, token: str
) -> None:
    page = tab.page
    tab.expected = {"s": ["403 ", "403: "], "n": ["401 ", "401: "], "t": []}[token[0]]
    page.goto(f"{stack.api_url}/playground")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Use this token").click()
    expect(page.locator("#token-fault")).not_to_be_empty()
    expect(prompt(page)).to_be_hidden()


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(stack: Stack, tab: Tab, width: int) -> None:
    page = tab.page
    page.set_viewport_size({"width": width, "height": 800})
    enter(page, stack, "narrow")
    page.get_by_text("More", exact=True).click()
    generate(page, "w" * 300, Images="2")
    expect(page.locator("img.loaded")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == width
