"""axe-core finds nothing in any state of the playground, in light and in dark."""

from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from local.environment import ROOT
from local.stack import Stack
from tests.browser.conftest import Tab
from tests.browser.test_playground import GENERATE, JOB, answered, enter, generate
from tests.support.factories.images import png

AXE: Final = (ROOT / "requirements/npm-browser/node_modules/axe-core/axe.min.js").read_text()
RULES: Final = (
    "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
)


def violations(page: Page) -> list[dict[str, Any]]:
    """Run axe beside the page, in a world of its own: the page's policy stays as it is."""
    browser = page.context.new_cdp_session(page)
    frame = browser.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = browser.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})
    shown = "({id, nodes}) => [id, ...nodes.map(({html, failureSummary}) => html + failureSummary)]"
    code = f"axe.run(document, {RULES}).then(({{violations}}) => violations.map({shown}))"
    answer = browser.send(
        "Runtime.evaluate",
        {
            "expression": f"{AXE};{code}",
            "contextId": world["executionContextId"],
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    found: list[dict[str, Any]] = answer["result"]["value"]
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(stack: Stack, tab: Tab, scheme: str) -> None:
    page, tab.expected = tab.page, ["422 (Unprocessable Entity)", "422: "]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{stack.api_url}/playground")
    expect(page.get_by_label("Token")).to_be_focused()
    assert violations(page) == [], "the token"

    enter(page, stack, "reader")
    expect(page.locator("#price")).not_to_be_empty()
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Copy as code").click()
    page.get_by_role("button", name="Copy as curl").click()
    assert violations(page) == [], "nothing yet"

    generate(page, " ", Steps="900")
    expect(page.locator("#alert")).to_contain_text("validation_error")
    assert violations(page) == [], "an error"

    page.get_by_label("Steps").fill("30")
    generate(page, "a fox", Images="4")
    expect(page.locator("img.loaded")).to_have_count(4)
    page.locator("#field-init_image").set_input_files(
        {"name": "fox.png", "mimeType": "image/png", "buffer": png()}
    )
    expect(page.locator("#init-name")).to_contain_text("MB")
    page.get_by_role("button", name="Verify").first.click()
    expect(page.locator("#verified")).to_contain_text("unchanged")
    assert violations(page) == [], "four images"

    page.route(GENERATE, answered(lambda job: job, status_code=202, **JOB))
    page.route("**/jobs/x1", answered(lambda job: job | {"queue_position": 3}, **JOB))
    generate(page, "a fox")
    expect(page.get_by_role("status")).to_have_text("3 jobs ahead")
    assert violations(page) == [], "a queue"


def test_axe_finds_what_is_wrong(stack: Stack, tab: Tab) -> None:
    tab.page.goto(f"{stack.api_url}/playground")
    expect(tab.page.get_by_label("Token")).to_be_focused()
    tab.page.locator("#gate label").first.evaluate("label => label.remove()")
    assert [rule for rule, *_ in violations(tab.page)] == ["label-title-only", "label"]
