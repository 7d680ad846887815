"""The page at /docs in a real browser: it is read, given a token, and calls the service."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from local.stack import Stack
from tests.browser.conftest import Tab


def authorize(page: Page, token: str) -> None:
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux")
    dialog.get_by_role("textbox").fill(token)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").last.click()


def execute(page: Page, operation: str, **parameters: str) -> Locator:
    """Send what the page suggests for an operation, with these parameters; what it shows then."""
    block = page.locator(f"[id$=-{operation}]")
    block.locator(".opblock-summary-control").click()
    for name, value in parameters.items():
        block.locator(f"[data-param-name={name}]").get_by_role("textbox").fill(value)
    block.get_by_role("button", name="Execute").click()
    response = block.locator(".live-responses-table")
    expect(response.locator("tbody .response-col_status")).to_contain_text("200")
    return response


def shown_json(response: Locator) -> Any:
    return json.loads(response.locator("code.language-json").inner_text())


def test_a_reader_tries_the_api_with_a_token_and_nothing_leaves_the_service(
    stack: Stack, tab: Tab
) -> None:
    page = tab.page
    page.goto(f"{stack.api_url}/docs")
    expect(page.get_by_role("heading", name="SD3 image service")).to_be_visible()
    authorize(page, stack.deployed.issue_token("reader"))

    assert shown_json(execute(page, "getUsage"))["client_id"] == "reader"
    job = shown_json(execute(page, "generate"))
    assert job["status"] == "succeeded"
    link = shown_json(execute(page, "getImage", id=job["id"], index="0"))
    assert urlsplit(link["url"]).path == urlsplit(job["images"][0]["url"]).path

    assert page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]") == []
    assert page.context.cookies() == []
    asked = {urlsplit(url).netloc for url in tab.urls if not url.startswith("blob:")}
    assert asked == {urlsplit(stack.api_url).netloc}


def test_what_goes_wrong_in_a_page_fails_its_test(stack: Stack, tab: Tab) -> None:
    tab.page.route("**/broken", lambda route: route.abort())
    tab.page.goto(f"{stack.api_url}/docs")
    tab.page.evaluate("fetch('https://example.com').catch(() => {})")
    tab.page.evaluate("fetch('broken').catch(() => {})")
    tab.page.evaluate("fetch('docs/nothing')")
    tab.page.evaluate("console.error('a line')")
    tab.page.evaluate("setTimeout(() => { throw new Error('a mistake') })")
    with pytest.raises(AssertionError, match="a line"):
        tab.check()
    tab.expected = [
        *("policy: connect-src stops https://example.com", "Content Security Policy"),
        *("failed: ", "net::ERR_FAILED", "404: ", "status of 404"),
        *("error: a line", "raised: a mistake"),
    ]
