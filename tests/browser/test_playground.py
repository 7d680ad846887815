"""The page at /playground in a real browser."""

from playwright.sync_api import Page, expect

from local.stack import Stack
from tests.browser.conftest import Tab


def enter(page: Page, stack: Stack, client: str) -> None:
    """Open the page, and give it a token of `client`."""
    page.goto(f"{stack.api_url}/playground")
    page.get_by_label("Token").fill(stack.deployed.issue_token(client))
    page.get_by_role("button", name="Use this token").click()
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()


def test_a_prompt_becomes_an_image(stack: Stack, tab: Tab) -> None:
    page = tab.page
    enter(page, stack, "painter")
    page.get_by_label("Prompt", exact=True).fill("a lighthouse at dusk")
    page.get_by_role("button", name="Generate").click()
    image = page.get_by_role("img", name="Image: a lighthouse at dusk")
    expect(image).to_have_class("loaded")
    assert image.evaluate("image => image.naturalWidth") == 1024
    assert tab.complaints == []
