"""Pictures of the playground. `make screenshots` writes them into the docs."""

from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from local.stack import Stack
from tests.browser.conftest import Tab
from tests.browser.test_playground import GENERATE, JOB, answered, enter, generate

MOST_BYTES: Final = 80_000
PICTURES: Final = [
    ("grid", 1280, "light"),
    ("queue", 1280, "dark"),
    ("grid", 375, "dark"),
    ("error", 375, "light"),
]


def show(page: Page, state: str) -> None:
    """Bring the page into a state that is worth a picture."""
    if state == "error":
        page.get_by_text("More", exact=True).click()
        generate(page, " ", Steps="900")
        expect(page.locator("#alert")).to_contain_text("validation_error")
    elif state == "grid":
        generate(page, "a lighthouse at dusk by the sea, mountains and trees", Images="4", Seed="8")
        expect(page.locator(".frame img.loaded")).to_have_count(4)
        expect(page.locator("#usage")).to_contain_text("$0.12")
    elif state == "queue":
        page.route(GENERATE, answered(lambda job: job, status_code=202, **JOB))
        running = {"status": "running", "progress": {"done": 3, "of": 8}, "eta_seconds": 12}
        page.route("**/jobs/x1", answered(lambda job: job | running, **JOB))
        generate(page, "a village in the snow", Images="8")
        expect(page.get_by_role("status")).to_contain_text("3 of 8")
        expect(page.locator("#price")).to_have_text("$0.24")


def saved(page: Page, path: Path) -> None:
    """Write what is seen as a WebP that is small enough for the docs."""
    picture = Image.open(BytesIO(page.screenshot()))
    for quality in (82, 70, 55, 40):
        picture.save(path, quality=quality, method=6)
        if path.stat().st_size <= MOST_BYTES:
            return
    pytest.fail(f"{path.name} has more than {MOST_BYTES} bytes")


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Provide the folder that the command names, or one that nobody keeps."""
    return Path(request.config.getoption("screenshots") or tmp_path)


@pytest.mark.parametrize(("state", "width", "scheme"), PICTURES)
def test_the_page_is_pictured(
    stack: Stack, tab: Tab, folder: Path, state: str, width: int, scheme: str
) -> None:
    page = tab.page
    if state == "error":
        tab.expected = ["422 (Unprocessable Entity)", "422: "]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    enter(page, stack, f"studio-{width}")
    show(page, state)
    saved(page, folder / f"playground-{state}-{width}.webp")
