"""The running stack, and a Chromium of this machine whose errors are collected."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import pytest
from playwright.sync_api import Page, Request, Response, expect, sync_playwright

from local.environment import ROOT
from local.stack import Stack, running

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
OPTIONS: Final = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    "--no-sandbox",  # root has none; only our own page is opened
)


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """Find the program before the stack starts: CHROMIUM, or the first of the usual names."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(f"none of {', '.join(NAMES)} is installed; CHROMIUM=path names another")
    return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Provide the stack of `make run`, on ports and with state of its own."""
    (ROOT / ".local").mkdir(exist_ok=True)
    state = tmp_path_factory.mktemp("stack")
    with running(state, edge_port=0, model_port=0, report=lambda _: None) as stack:
        yield stack


@dataclass
class Tab:
    """A page that is open, and what went on in it."""

    page: Page
    urls: list[str] = field(default_factory=list)
    """Of all requests, in order."""
    complaints: list[str] = field(default_factory=list)
    """Lines of the console, in which violations of the policy are, and requests that failed."""

    def __post_init__(self) -> None:
        self.page.on("request", self._requested)
        self.page.on("response", self._answered)
        self.page.on("requestfailed", lambda request: self._complain(f"failed: {request.url}"))
        self.page.on("pageerror", lambda error: self._complain(f"raised: {error}"))
        self.page.on("console", lambda line: self._complain(f"{line.type}: {line.text}"))

    def _requested(self, request: Request) -> None:
        self.urls.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            self._complain(f"{response.status}: {response.url}")

    def _complain(self, text: str) -> None:
        self.complaints.append(text)


@pytest.fixture
def tab(chromium: str) -> Iterator[Tab]:
    """Provide a new tab of a browser that was never used."""
    expect.set_options(timeout=30_000)  # ms, since the first call of a function can take seconds
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield Tab(browser.new_page())
        browser.close()
