"""The page at /playground where a person is too quick, or answers come late or not at all."""

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from local.stack import Stack
from tests.browser.conftest import Tab
from tests.browser.test_playground import GENERATE, JOB, answered, enter, generate, prompt


def is_paid(route: Route) -> bool:
    return "dry_run" not in (route.request.post_data or "")


def queue_all(page: Page) -> list[str]:
    """Answer each request with a queued job, in no time; return the keys of those that came."""
    keys: list[str] = []
    queued = answered(lambda job: job, status_code=202, **JOB)

    def answer(route: Route) -> None:
        if is_paid(route):
            keys.append(route.request.headers["idempotency-key"])
        queued(route)

    page.route("**/jobs/x1", answered(lambda job: job, **JOB))
    page.route(GENERATE, answer)
    return keys


def test_a_double_click_leads_to_one_job(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "hasty")
    keys = queue_all(page)
    prompt(page).fill("a fox")
    button = page.get_by_role("button", name="Generate")
    button.click()
    expect(page.get_by_role("status")).to_have_text("Waiting in the queue")
    expect(button).to_have_attribute("aria-disabled", "false")  # it is answered between the clicks
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    assert page.evaluate("playground.busy") is False
    button.click()
    expect(button).to_have_attribute("aria-disabled", "false")
    assert len(keys) == 2


@pytest.mark.parametrize("field", ["Prompt", "Seed"])
def test_a_key_that_is_held_down_leads_to_one_job(stack: Stack, tab: Tab, field: str) -> None:
    page = tab.page
    enter(page, stack, "slow")
    keys = queue_all(page)
    prompt(page).fill("a fox")
    page.get_by_label(field, exact=True).focus()
    if field == "Prompt":
        page.keyboard.down("Control")
    page.keyboard.down("Enter")
    expect(page.get_by_role("status")).to_have_text("Waiting in the queue")
    expect(page.get_by_role("button", name="Generate")).to_have_attribute("aria-disabled", "false")
    page.keyboard.down("Enter")
    assert page.evaluate("playground.busy") is False
    assert len(keys) == 1


def test_after_the_504_of_a_job_that_goes_on_the_next_request_is_a_new_one(
    stack: Stack, tab: Tab
) -> None:
    page, tab.expected = tab.page, ["504 (Gateway Timeout)", "504: "]
    enter(page, stack, "patient")
    keys = queue_all(page)
    cut_off = {"code": "still_running", "message": "It goes on.", "job_id": "x1="}

    def answer(route: Route) -> None:
        if is_paid(route) and not keys:
            keys.append(route.request.headers["idempotency-key"])
            headers = {"Content-Type": "application/json"}
            route.fulfill(status=504, headers=headers, body=json.dumps(cut_off))
        else:
            route.fallback()

    page.route(GENERATE, answer)
    generate(page, "a fox")
    expect(page.get_by_role("status")).to_have_text("Waiting in the queue")
    expect(page.locator("#jobs .entry")).to_have_accessible_name(re.compile("^a fox, queued"))
    with page.expect_response(lambda response: response.status == 202):
        page.get_by_role("button", name="Generate").click()
    assert keys[0] != keys[1]


def test_a_price_that_comes_late_removes_no_fault(stack: Stack, tab: Tab) -> None:
    page, tab.expected = tab.page, ["422 (Unprocessable Entity)", "422: "]
    enter(page, stack, "mistaken")
    expect(page.locator("#price")).to_have_text("$0.03")
    page.get_by_label("Images", exact=True).fill("2")
    generate(page, " ")
    expect(page.get_by_role("alert")).to_contain_text("validation_error")
    expect(page.locator("#price")).to_have_text("$0.06")
    expect(prompt(page)).to_have_accessible_description("should have a visible character")


def test_a_job_that_is_waited_for_is_looked_at_again_at_once(stack: Stack, tab: Tab) -> None:
    """Retry-After is for those who do not wait."""
    page = tab.page
    enter(page, stack, "waiter")
    queue_all(page)
    positions = iter([40, 3])

    def held(route: Route) -> None:
        headers = {"Content-Type": "application/json", "Retry-After": "3600"}
        headers["Preference-Applied"] = route.request.headers["prefer"]
        if position := next(positions, None):
            route.fulfill(headers=headers, body=json.dumps(JOB | {"queue_position": position}))

    page.route("**/jobs/x1", held)
    generate(page, "a fox")
    expect(page.get_by_role("status")).to_have_text("3 jobs ahead")


def test_an_answer_for_who_has_left_is_shown_to_nobody(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "leaver")
    held: list[Route] = []
    page.route(GENERATE, lambda route: held.append(route) if is_paid(route) else route.fallback())
    page.get_by_label("Seed", exact=True).fill("7")
    generate(page, "a secret fox")
    while not held:
        page.wait_for_timeout(50)  # ms, in which the page's call arrives
    page.get_by_role("button", name="Change token").click()
    expect(page.get_by_label("Token")).to_be_focused()
    with page.expect_response(GENERATE):
        held[0].continue_()
    page.get_by_label("Token").fill(stack.deployed.issue_token("successor"))
    page.get_by_role("button", name="Use this token").click()
    expect(page.locator("#usage")).to_contain_text("successor")
    expect(page.locator("#price")).not_to_be_empty()
    expect(page.get_by_role("button", name="Generate")).to_have_attribute("aria-disabled", "false")
    assert page.get_by_role("figure").count() == 0
    assert page.evaluate("playground.requests.size") == 0


def test_a_browser_that_stores_nothing_is_enough(stack: Stack, tab: Tab) -> None:
    page = tab.page
    page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('no'); }})"
    )
    enter(page, stack, "cautious")
    page.get_by_role("button", name="Change token").click()
    expect(page.get_by_label("Token")).to_be_focused()


def test_a_thumbnail_whose_link_has_ended_gets_another(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "lingerer")
    generate(page, "a fox")
    expect(page.locator("#jobs .entry img")).to_have_attribute("src", re.compile("_renditions"))
    ended = "for (const id of playground.thumbnails.keys()) playground.thumbnails.set(id, 'data:,')"
    page.evaluate(ended)
    page.evaluate("playground.drawHistory()")
    expect(page.locator("#jobs .entry")).to_have_text("succeeded")
    page.get_by_role("button", name="a fox, succeeded").click()
    expect(page.locator("#jobs .entry img")).to_have_attribute("src", re.compile("_renditions"))
