"""The playground's document, held against the policy that its browser enforces."""

import base64
import hashlib
import re
from importlib.resources import files

import pytest

from sd3.api.playground.page import SCRIPTS, STYLE, page


def directives(images: str = "https://images.example") -> dict[str, str]:
    policy = page().headers(images)["Content-Security-Policy"]
    return dict(part.partition(" ")[::2] for part in policy.split("; "))


def hashes(tag: str) -> list[str]:
    """Hash what is between the tags, as a browser does."""
    bodies = re.findall(f"<{tag}>(.*?)</{tag}>", page().html, re.DOTALL)
    digests = [hashlib.sha256(body.encode()).digest() for body in bodies]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def test_all_that_runs_in_the_page_is_allowed_by_its_hash_and_nothing_else() -> None:
    assert directives()["script-src"].split() == hashes("script")
    assert directives()["style-src"].split() == hashes("style")
    assert len(hashes("script")) == len(SCRIPTS)
    assert page().html.count("<script") == len(SCRIPTS)


def test_the_page_reaches_its_own_api_and_the_images_only() -> None:
    found = directives()
    assert {name: found[name] for name in found if name not in {"script-src", "style-src"}} == {
        "default-src": "'none'",
        "img-src": "'self' data: blob: https://images.example",
        "connect-src": "'self' https://images.example",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_page_is_kept_nowhere_and_says_nothing_of_itself_to_others() -> None:
    headers = page().headers("https://images.example")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_every_file_of_the_folder_is_in_the_page() -> None:
    folder = files("sd3.api.playground").iterdir()
    there = {each.name for each in folder if each.name.endswith((".js", ".css"))}
    assert there == {*SCRIPTS, STYLE}


@pytest.mark.parametrize(
    "forbidden",
    [
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function",
        r"localStorage|document\.cookie|indexedDB",
        r"\sstyle=|\son[a-z]+=\"|javascript:",
        r"(?:href|src)=\"(?:/|https?:)",  # they would leave the stage, or the service
    ],
)
def test_the_page_has_nothing_that_its_policy_or_its_promise_forbids(forbidden: str) -> None:
    assert re.findall(forbidden, page().html) == []
