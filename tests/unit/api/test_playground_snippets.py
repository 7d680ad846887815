"""The playground's "copy as": every snippet sends exactly the request of the form."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.support.snippets import TOKEN, Copied, copied

BASE_URL: Final = "https://abcde12345.execute-api.eu-central-1.amazonaws.com/v1"
IMAGE: Final = b"\x89PNG\r\n\x1a\n of a cat"
FILE_NAME: Final = 'the cat\'s "best" $HOME `photo`\\ 🐈.png'
NASTY: Final = (
    *("a fox", "it's a \"fox\"", "'; rm -rf ~; '", "a\nb\r\nc\td", "'\'\'\"\"\"", "!!", "@file"),
    *("$HOME $(date) `date` ${x}", "`${alert(1)}`", "{prompt} {{x}} %s %d %%", "#{x} // /* \\"),
    *("back\\slash \\n \\' \\u0041", "</script><!-- <b>", "\N{FOX FACE}\U0001f469\u200d\U0001f680"),
    *("\0\a\b\x1b[31m\x7f\x85", "a\u2028b\u2029c", "\u202eabc\u2066", "\ud83d", "\ufeff", "é̂ ß 水"),
)  # fmt: skip
ALL_FIELDS: Final = {
    "prompt": "a fox",
    "negative_prompt": "",
    "seed": [7, None],
    "num_images": 2,
    "steps": 20,
    "cfg_scale": 4.5,
    "width": 1536,
    "height": 640,
    "image_encoding": "png",
    "strength": 0.3,
    "embed_parameters": True,
    "dry_run": False,
    "placeholder": None,
    "init_image_fit": "contain",
    "metadata": {"it's": 'a "fox"'},
}
REQUESTS: Final = [{"prompt": text, "negative_prompt": text} for text in NASTY] + [ALL_FIELDS]
Sent = tuple[str, dict[str, Any], dict[str, str]]
"""The address, the body and the headers of a call."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snippets")
    (folder / FILE_NAME).write_bytes(IMAGE)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["at once", "queued"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["text", "init image"])
def requests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    image = {"init_image": base64.b64encode(IMAGE).decode()} if request.param else {}
    return [{**one, **image} for one in REQUESTS]


@pytest.fixture(scope="module")
def snippets(requests: list[dict[str, Any]], is_async: bool, folder: Path) -> list[Copied]:
    options = {"baseUrl": BASE_URL, "isAsync": is_async, "fileName": FILE_NAME}
    return copied(requests, options, folder)


def sent_by_curl(code: str, folder: Path) -> Sent:
    """Run a snippet by bash; `curl` prints its arguments and what it is piped."""
    curl = 'curl() { printf "%s\\0" "$@"; [ "${@: -1}" != @- ] || cat; }\n'
    done = subprocess.run(  # noqa: S603 - all of it is ours
        ["/bin/bash", "-u", "-c", curl + code],
        cwd=folder,
        env={TOKEN: "sd3_secret", "PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
        capture_output=True,
        check=True,
    )
    url, *arguments, piped = done.stdout.decode("utf-8").split("\0")
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in pairs if option == "-H")
    [body] = [value for option, value in pairs if option == "-d"]
    return url, json.loads(piped if body == "@-" else body), headers


def sent_by_python(code: str, monkeypatch: pytest.MonkeyPatch) -> Sent:
    calls: list[Sent] = []

    def post(url: str, *, json: dict[str, Any], headers: dict[str, str], timeout: float) -> Any:
        calls.append((url, json, headers))
        job = {"id": "job", "status": "succeeded", "images": []}
        return SimpleNamespace(ok=timeout > 0, json=lambda: job)

    monkeypatch.setitem(sys.modules, "requests", SimpleNamespace(post=post))
    exec(code, {})  # noqa: S102 - it is ours
    [call] = calls
    return call


def called_by_openai(code: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Run a snippet of OpenAI's SDK; the method that it calls, and how."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def method(name: str) -> Callable[..., Any]:
        def call(**fields: Any) -> Any:
            calls.append((name, fields))
            return SimpleNamespace(data=[])

        return call

    def client(**options: str) -> Any:
        assert options == {"base_url": BASE_URL, "api_key": "sd3_secret"}
        images = SimpleNamespace(generate=method("generate"), edit=method("edit"))
        return SimpleNamespace(images=images)

    monkeypatch.setitem(sys.modules, "openai", SimpleNamespace(OpenAI=client))
    exec(code, {})  # noqa: S102 - it is ours
    [call] = calls
    return call


def test_each_snippet_sends_the_request(
    snippets: list[Copied],
    requests: list[dict[str, Any]],
    is_async: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(TOKEN, "sd3_secret")
    for request, snippet in zip(requests, snippets, strict=True):
        for url, body, headers in (
            sent_by_curl(snippet.curl, folder),
            sent_by_python(snippet.python, monkeypatch),
            (snippet.sent["url"], json.loads(snippet.sent["body"]), snippet.sent["headers"]),
        ):
            assert url == f"{BASE_URL}/generate/sd3"
            assert body == request
            assert headers["Authorization"] == "Bearer sd3_secret"
            assert headers.get("Prefer") == ("respond-async" if is_async else None)


def test_openais_sdk_is_called_with_what_its_api_has(
    snippets: list[Copied],
    requests: list[dict[str, Any]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(TOKEN, "sd3_secret")
    for request, snippet in zip(requests, snippets, strict=True):
        name, fields = called_by_openai(snippet.openai, monkeypatch)
        image = fields.pop("image", None)
        assert (name, image and image.read_bytes()) == (
            ("edit", IMAGE) if "init_image" in request else ("generate", None)
        )
        assert fields["prompt"] == request["prompt"]
        assert fields["extra_body"]["negative_prompt"] == request["negative_prompt"]
    assert fields == {
        "model": "sd3",
        "prompt": "a fox",
        "n": 2,
        "size": "1536x640",
        "output_format": "png",
        "response_format": "url",
        "extra_body": {
            "negative_prompt": "",
            **({"seed": [7, None]} if name == "generate" else {}),
            "steps": 20,
            "cfg_scale": 4.5,
            "strength": 0.3,
        },
    }


def test_what_openais_api_lacks_is_said(snippets: list[Copied], is_async: bool) -> None:
    *_, last = snippets
    lost = '"embed_parameters", "dry_run", "placeholder", "init_image_fit", "metadata"'
    seed = '"seed", ' if "images.edit" in last.openai else ""  # a form has no lists
    assert f"no way to send: {seed}{lost}\n" in last.openai
    assert ("no queue" in last.openai) is is_async


def test_a_snippet_shows_every_character_and_no_token(snippets: list[Copied]) -> None:
    for snippet in snippets:
        for code in snippet[:4]:
            assert [one for one in code if one in "\u202e\u2066\u2028\ufeff\x7f\x85\0\x1b\r"] == []
            assert "sd3_secret" not in code
            assert TOKEN in code
