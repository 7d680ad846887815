"""Requests of programs that are too large to run here, written down from their public sources.

Each file in recorded/ names the repository, the commit and the files that it was read in. `reads`
are the fields of an image that the program looks for: it takes the first one that is there.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.factories.images import png
from tests.support.openai_clients import Door, Picture


def recorded() -> Iterator[Any]:
    for file in sorted(Path(__file__).parent.glob("recorded/*.json")):
        for request in json.loads(file.read_text())["requests"]:
            yield pytest.param(request, id=f"{file.stem}: {request['what']}")


def send(door: Door, request: dict[str, Any], http: requests.Session) -> requests.Response:
    headers = {"Authorization": f"Bearer {door.token}"} | request.get("headers", {})
    url = door.url + request["path"]
    if "json" in request:
        return http.post(url, json=request["json"], headers=headers)
    part_type = request.get("part_type")
    parts: list[tuple[str, Any]] = [
        (name, (None, text, part_type) if part_type else (None, text))
        for name, text in request["form"].items()
    ]
    parts += [(name, (file, png(), kind)) for name, file, kind in request["files"]]
    return http.post(url, files=parts, headers=headers)


@pytest.mark.parametrize("request_of", list(recorded()))
def test_a_recorded_request_gets_what_its_program_reads(
    request_of: dict[str, Any], door: Door, http: requests.Session
) -> None:
    response = send(door, request_of, http)
    assert response.status_code == request_of.get("status", 200), response.text
    if not response.ok:
        assert response.json()["error"]["param"] == request_of["param"]
        return
    images = response.json()["data"]
    asked = {**request_of.get("json", {}), **request_of.get("form", {})}
    assert len(images) == int(asked.get("n", 1))
    for image in images:
        read = next(name for name in request_of["reads"] if name in image)
        # S3 refuses a presigned link that comes with an Authorization header.
        assert not (read == "url" and request_of.get("sends_token_to_url"))
        data = http.get(image["url"]).content if read == "url" else image["b64_json"]
        picture = Picture.read(data)
        assert picture.format == request_of.get("format", "JPEG")
        assert list(picture.size) == request_of.get("size", [1024, 1024])
        assert response.json()["size"] == "x".join(map(str, picture.size))
