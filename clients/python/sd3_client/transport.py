"""How a call is sent: when it is sent again, and which answers are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from sd3_client.errors import Sd3Error, error_of

_TIMEOUT = (10, 35)  # the gateway answers after 29 s at the latest
_LONGEST_PAUSE = 60


def session(headers: Mapping[str, str], *, retries: int) -> requests.Session:
    """Make a session that sends these headers and repeats calls."""
    made = requests.Session()
    made.auth = _Headers(headers)
    retry = _Retry(retries, allowed_methods=None, backoff_factor=1, raise_on_status=False)
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry))
    return made


class _Headers(requests.auth.AuthBase):
    """Stands where a .netrc would, which would replace a header of the same name."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


class _Retry(Retry):
    """Repeats what docs/errors.md allows, and waits as urllib3 does, but for 60 s at most."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:  # noqa: ARG002
        return status_code in {429, 503, 504} or (status_code == 500 and has_retry_after)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            return min(super().get_retry_after(response) or 0, _LONGEST_PAUSE)
        except InvalidHeader:
            return None


def send(session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
    """Return an answer that is no error."""
    options = {"timeout": _TIMEOUT, "allow_redirects": False, **options}
    try:
        response = _whole(session, method, url, options)
    except requests.RequestException as error:
        message = f"No answer came: {type(error).__name__}."
        raise error_of({"code": "unreachable", "message": message}) from error
    if response.status_code < 300 or response.status_code == 304:
        return response
    try:
        body = response.json()
    except ValueError:  # of S3, or of what stands in between
        found = re.search(r"<Message>([^<]+)</Message>", response.text[:2000])
        body = {"message": found[1]} if found else {}
    raise error_of(body, response.status_code, response.headers.get("Retry-After", ""))


def _whole(
    session: requests.Session, method: str, url: str, options: dict[str, Any]
) -> requests.Response:
    """Ask again where an answer was cut off, which urllib3 does until its headers are there."""
    retries = session.get_adapter(url).max_retries  # type: ignore[attr-defined]
    for _ in range(retries.total):
        with suppress(requests.exceptions.ChunkedEncodingError):
            return session.request(method, url, **options)
    return session.request(method, url, **options)


def read(response: requests.Response) -> dict[str, Any]:
    """Read the JSON of an answer."""
    try:
        body: dict[str, Any] = response.json()
    except ValueError as error:
        message = "The answer is no JSON. Is the address the service's?"
        raise error_of({"code": "not_json", "message": message}) from error
    return body


def pause_of(response: requests.Response) -> int:
    """Return the seconds until it is worth asking again."""
    text = response.headers.get("Retry-After", "")
    return min(int(text) if text.isdecimal() else 2, _LONGEST_PAUSE)


def still_running(what: str, id: str, seconds: float) -> Sd3Error:
    """Make the error of who has waited for long enough."""
    message = f"The {what} {id} has not ended after {seconds:g} s."
    return error_of({"code": "still_running", "message": message, "job_id": id})
