"""The calls of the API, which are repeated by themselves where that cannot pay twice."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from sd3_client.batches import Batches
from sd3_client.errors import ConflictError
from sd3_client.models import Image, Job, Json, Options, known
from sd3_client.transport import pause_of, read, send, session, still_running

if TYPE_CHECKING:
    from typing_extensions import Unpack  # type checkers know it without the package

_INLINE_BYTES = 3_000_000
_WAIT_SECONDS, _WATCH_SECONDS = 20, 3


class Client:
    """A client of the service at `url`, by default what SD3_API_URL and SD3_API_TOKEN say.

    A call is repeated up to `retries` times after 429, 503 and 504, after a 500 of the gateway, and
    when its connection failed. It keeps its Idempotency-Key, so nothing is paid twice. What is
    wrong then is an Sd3Error.
    """

    def __init__(self, url: str = "", token: str = "", *, retries: int = 4) -> None:
        self._url = (url or os.environ.get("SD3_API_URL", "")).rstrip("/")
        token = token or os.environ.get("SD3_API_TOKEN", "")
        if not self._url or not token:
            msg = "the service's address and a token are needed: SD3_API_URL and SD3_API_TOKEN"
            raise ValueError(msg)
        if not (token.isascii() and token.isprintable()):
            msg = "the token has characters that no token has"
            raise ValueError(msg)
        self._api = session({"Authorization": f"Bearer {token}"}, retries=retries)
        self._files = session({}, retries=retries)  # links are signed: they get no token
        self.batches = Batches(self.call, self.upload, self._files)

    def generate(
        self,
        prompt: str,
        *,
        timeout: float = 900,
        on_update: Callable[[Job], object] | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Generate images: return the job when it has ended, or raise its error.

        Raises StillRunningError after `timeout` seconds. The job goes on.
        """
        options.setdefault("queue", False)
        job = self.submit(prompt, **options)
        if on_update:
            on_update(job)
        if not job.has_ended:
            job = self.wait(job, timeout=timeout, on_update=on_update)
        return job.raise_for_error()

    def submit(self, prompt: str, **options: Unpack[Options]) -> Job:
        """Make a job and return it at once; `wait` waits for it."""
        fields: dict[str, Any] = {"prompt": prompt, **options}
        headers = {"Idempotency-Key": fields.pop("idempotency_key", None) or str(uuid.uuid4())}
        if fields.pop("queue", True):
            headers["Prefer"] = "respond-async"
        image = fields.get("init_image")
        if isinstance(image, Path):
            image = image.read_bytes()
        if isinstance(image, bytes) and len(image) > _INLINE_BYTES:
            fields |= {"init_image": None, "init_image_id": self.upload(image)}
        elif isinstance(image, bytes):
            fields["init_image"] = base64.b64encode(image).decode()
        return self._job(read(self.call("POST", "/generate/sd3", headers=headers, json=fields)))

    def job(self, job_id: str) -> Job:
        """Read a job."""
        return self._job(read(self.call("GET", f"/jobs/{job_id}")))

    def jobs(self, status: str | None = None) -> Iterator[Job]:
        """Yield the client's jobs, newest first."""
        query = {"status": status, "limit": "100"}
        while True:
            page = read(self.call("GET", "/jobs", params=query))
            yield from map(self._job, page["jobs"])
            if not page["next_cursor"]:
                return
            query["cursor"] = page["next_cursor"]

    def wait(
        self,
        job: Job | str,
        *,
        timeout: float = 900,
        on_update: Callable[[Job], object] | None = None,
    ) -> Job:
        """Return a job when it has ended. `on_update` is told every few seconds how it stands.

        Raises StillRunningError after `timeout` seconds. The job goes on.
        """
        path = f"/jobs/{job if isinstance(job, str) else job.id}"
        until = time.monotonic() + timeout
        headers: dict[str, str] = {}
        while True:
            left = max(0.0, until - time.monotonic())
            seconds = ceil(min(left, _WATCH_SECONDS if on_update else _WAIT_SECONDS))
            response = self.call("GET", path, headers={"Prefer": f"wait={seconds}", **headers})
            if response.status_code != 304:
                job = self._job(read(response))
                if on_update:
                    on_update(job)
                else:  # a tag says nothing of the position in the queue
                    headers = {"If-None-Match": response.headers.get("ETag", "")}
                if job.has_ended:
                    return job
            if not left:
                raise still_running("job", path.removeprefix("/jobs/"), timeout)
            if "Preference-Applied" not in response.headers:
                time.sleep(min(left, pause_of(response)))

    def cancel(self, job: Job | str) -> Job:
        """Cancel a job that has not ended. Images that are being generated are paid."""
        job_id = job if isinstance(job, str) else job.id
        try:
            return self._job(read(self.call("POST", f"/jobs/{job_id}/cancel")))
        except ConflictError:
            found = self.job(job_id)  # the call may be the second one, after a lost answer
            if found.status == "canceled":
                return found
            raise

    def upload(self, data: bytes, content_type: str = "") -> str:
        """Send an image of up to 20 MB, and return its id for `init_image_id`."""
        asked = {"content_type": content_type or _type_of(data)}
        form = read(self.call("POST", "/uploads", json=asked))
        send(self._files, "POST", form["url"], data=form["fields"], files={"file": data})
        return str(form["id"])

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make any other call, such as `call("GET", "/usage")`, with `options` of requests."""
        return send(self._api, method, self._url + path, **options)

    def _job(self, body: Json) -> Job:
        fetch = partial(self._download, body["id"])
        images = tuple(known(Image, each, fetch=fetch) for each in body["images"])
        return known(Job, body, images=images)

    def _download(self, job_id: str, index: int, rendition: Json) -> bytes:
        """Fetch an image by its permanent address, which has a link that was signed just now."""
        path = f"/jobs/{job_id}/images/{index}"
        link = self.call("GET", path, params=rendition, headers={"Accept": "application/json"})
        return send(self._files, "GET", read(link)["url"]).content


def _type_of(image: bytes) -> str:
    """Name the type that an upload says. The service looks at the bytes themselves."""
    if image[4:8] == b"ftyp":
        return "image/avif" if image[8:11] == b"avi" else "image/heic"
    return {b"\x89PNG": "image/png", b"RIFF": "image/webp"}.get(image[:4], "image/jpeg")
