"""A client of a deployed service: calls its routes, waits, and checks what it gets."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests

from ops.stacks import DeployedStack, StackError

WAIT_SECONDS: Final = 180
"""How long an image, a result or an entry may take, with cold starts and a busy upstream."""

_HTTP_SECONDS: Final = 60
_SHOWN: Final = 500
"""The most characters of a response that are printed."""
_POLL_SECONDS: Final = 0.25

Found = TypeVar("Found")


class ServiceError(StackError):
    """The service did something else than it should; the message says what was seen."""


class ApiClient:
    """One token's calls, and its client's files in the inbox."""

    def __init__(self, deployed: DeployedStack, api_url: str, token: str) -> None:
        self.failed_jobs: list[str] = []
        """The jobs that errors were about."""
        self._api_url, self._token = api_url, token
        self._outputs = deployed.outputs()
        self._s3 = deployed.client("s3")
        self._http = requests.Session()
        # Proxies and .netrc of this machine are for addresses beyond it.
        self._http.trust_env = not _is_loopback(api_url)

    def call(
        self, method: str, path: str, *expected: int, but: int | None = None, **options: Any
    ) -> Any:
        """Call the API; returns None for the status `but`, and raises ServiceError for others."""
        options["headers"] = options.get("headers", {}) | {"Authorization": f"Bearer {self._token}"}
        response = self._http.request(
            method, self._api_url + path, timeout=_HTTP_SECONDS, allow_redirects=False, **options
        )
        if response.status_code == but:
            return None
        if response.status_code not in expected:
            self.failed_jobs += _failed_job(response)
            raise ServiceError(
                f"{method} {path} was answered with {response.status_code}, and not with"
                f" {' or '.join(map(str, expected))}{_error_of(response)}"
            )
        return response

    def ended(self, job_id: str, *, seen: Callable[[Any], None] = lambda _: None) -> Any:
        """Wait for the end of a job, and return it; `seen` gets it each time that it has not."""

        def look() -> Any:
            job = self.call("GET", f"/jobs/{job_id}", 200).json()
            if job["status"] not in {"queued", "running"}:
                return job
            return seen(job)

        return self.wait(look, what=f"end of the job {job_id}")

    def image_of(self, job: Any, index: int = 0) -> bytes:
        """Fetch a job's image by its link, and compare it with what the job says of it."""
        if job["status"] != "succeeded" or not (image := job["images"][index])["url"]:
            raise ServiceError(f"no image was generated: {shown(job)}")
        content = self.file(image["url"])
        if hashlib.sha256(content).hexdigest() != image["sha256"]:
            raise ServiceError("the link leads to another file than the image")
        return content

    def file(self, link: str) -> bytes:
        """Fetch a file by its link, without the token."""
        response = self._http.get(link, timeout=_HTTP_SECONDS)
        if response.status_code != 200:
            raise ServiceError(f"a link leads to no file: {response.status_code}")
        return response.content

    def put_file(self, key: str, request: Any) -> None:
        """Put a request into the inbox, at a key of {client}/{name}.json."""
        body = json.dumps(request).encode()
        self._s3.put_object(Bucket=self._outputs["InboxBucket"], Key=key, Body=body)

    def result_of(self, key: str) -> Any:
        """Wait for the result file of a file of the inbox, until its job has ended."""
        return self.wait(lambda: self._result(key), what=f"result of {key}")

    def remove_file(self, key: str) -> None:
        """Remove a file from the inbox, and its result file."""
        self._s3.delete_object(Bucket=self._outputs["InboxBucket"], Key=key)
        self._s3.delete_object(Bucket=self._outputs["ImagesBucket"], Key=_result_key(key))

    def usage(self) -> Any:
        """Read what the client has used."""
        return self.call("GET", "/usage", 200).json()

    def wait(self, look: Callable[[], Found | None], *, what: str) -> Found:
        """Return what `look` finds. Raises ServiceError when it finds nothing for too long."""
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(_POLL_SECONDS)
        raise ServiceError(f"no {what} within {WAIT_SECONDS} s")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _result(self, key: str) -> Any:
        """Read the result file; None while there is none, or while its job is open."""
        try:
            found = self._s3.get_object(Bucket=self._outputs["ImagesBucket"], Key=_result_key(key))
        except self._s3.exceptions.NoSuchKey:
            return None
        result = json.loads(found["Body"].read())
        return None if result.get("status") in {"queued", "running"} else result


def shown(result: Any) -> str:
    """Return what a job or a result file says of its end, without links."""
    names = ("id", "status", "code", "message", "error", "detail")
    return json.dumps({name: result[name] for name in names if name in result})


def _result_key(key: str) -> str:
    client_id, name = key.split("/")
    return f"{client_id}/inbox/{name}"


def _error_of(response: requests.Response) -> str:
    """Return the body of an error. Other bodies may hold links."""
    return "" if response.ok else f": {response.text[:_SHOWN]}"


def _failed_job(response: requests.Response) -> list[str]:
    """Return the job that an error is about, which is to be deleted too."""
    try:
        return [response.json()["job_id"]]
    except (ValueError, LookupError, TypeError):
        return []


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost"}
