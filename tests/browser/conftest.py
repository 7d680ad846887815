"""The running stack, and a Chromium of this machine that says what went wrong in a page."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic
from typing import Final

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from local.environment import ROOT
from local.stack import Stack, running

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
OPTIONS: Final = (
    *("--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    "--no-sandbox",  # root has none; only our own pages are opened
)
PATIENCE: Final = 30
"""Seconds, since the first call of a function can take some."""
VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  complain(`policy: ${event.effectiveDirective} stops ${event.blockedURI}`));
"""


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """Find the program before the stack starts: CHROMIUM, or the first of the usual names."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        tried = named or ", ".join(NAMES)
        message = f"no Chromium: {tried} cannot be run. Install one, or name it by CHROMIUM=path"
        pytest.exit(message, returncode=1)
    return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Provide the stack of `make run`, on ports and with state of its own."""
    (ROOT / ".local").mkdir(exist_ok=True)
    state = tmp_path_factory.mktemp("stack")
    with running(state, edge_port=0, model_port=0, report=lambda _: None) as stack:
        yield stack


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page that is open, and what went on in it."""

    page: Page
    urls: list[str] = field(default_factory=list)
    """Of all requests, in order."""
    complaints: list[str] = field(default_factory=list)
    """Lines of the console, violations of the page's policy, and requests that failed."""
    expected: list[str] = field(default_factory=list)
    """Parts of the complaints that the test provokes."""

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.on("response", self._answered)
        self.page.on("requestfailed", self._failed)
        self.page.on("pageerror", lambda error: self._complain(f"raised: {error}"))
        self.page.on("console", self._logged)
        self.page.expose_function("complain", self._complain)
        self.page.add_init_script(VIOLATIONS)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page's own decision
            self._complain(f"failed: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            self._complain(f"{response.status}: {response.url}")

    def _logged(self, line: ConsoleMessage) -> None:
        self._complain(f"{line.type}: {line.text} {line.location['url']}")

    def _complain(self, text: str) -> None:
        self.complaints.append(text)

    def check(self) -> None:
        """Fail for complaints that the test did not expect, and for the lack of those it did."""
        deadline = monotonic() + PATIENCE
        while self._missing() and monotonic() < deadline:
            self.page.wait_for_timeout(50)  # ms, in which events of the browser arrive
        assert self._missing() == []
        unexpected = [
            line for line in self.complaints if not any(part in line for part in self.expected)
        ]
        assert unexpected == [], "\n".join(unexpected)

    def _missing(self) -> list[str]:
        return [part for part in self.expected if not any(part in line for line in self.complaints)]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """Provide a tab of a profile that was never used; nothing unexpected may happen in it."""
    context = browser.new_context()
    tab = Tab(context.new_page())
    yield tab
    try:
        tab.check()
    finally:
        context.close()
