"""python -m ops.smoke: use a deployed service as its clients do, and print what works."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import requests
from botocore.exceptions import BotoCoreError, ClientError

from ops.clients import micros
from ops.stacks import DeployedStack, StackError, find_stack
from sd3.adapters.dynamodb.tokens import sha256_of
from sd3.errors import StorageError

CLIENT: Final = "smoke"
TOKEN_LIFE: Final = timedelta(minutes=30)
"""For the case that this process dies before it revokes its token."""

REQUEST: Final = {"prompt": "a lighthouse at dusk", "num_images": 1, "steps": 10}

_HTTP_SECONDS: Final = 60
_SHOWN: Final = 500
"""The most characters of a response that are printed."""
_WAIT_SECONDS: Final = 180
"""How long an image, a result or an entry may take, with cold starts and a busy upstream."""
_POLL_SECONDS: Final = 0.5

_ERRORS: Final = (
    StackError, StorageError, BotoCoreError, ClientError, requests.RequestException, ValueError,
)  # fmt: skip
Found = TypeVar("Found")


class SmokeError(StackError):
    """The service did something else than it should; the message says what was seen."""


class Client:
    """A client of the service: its token, its jobs, and its files in the inbox."""

    def __init__(self, deployed: DeployedStack, api_url: str, token: str) -> None:
        self._api_url, self._token = api_url, token
        self._outputs = deployed.outputs()
        self._s3 = deployed.client("s3")
        self._http = requests.Session()
        # Proxies and .netrc of this machine are for addresses beyond it.
        self._http.trust_env = not _is_loopback(api_url)
        self._jobs: list[str] = []
        self._file = f"{uuid4().hex}.json"
        self._images_before = 0

    # ---- The steps, in their order. Each returns what was seen -----------------------------------

    def health(self) -> str:
        """Ask whether the service is there. No token is needed."""
        return str(self._call("GET", "/health", 200).json()["status"])

    def dry_run(self) -> str:
        """Ask for the price, once the token is known: a refusal is cached for a minute."""
        body = REQUEST | {"dry_run": True}
        found = self._wait(
            lambda: self._call("POST", "/generate/sd3", 200, but=403, json=body),
            what="acceptance of the new token",
        ).json()
        self._images_before = self._images_used()
        return f"an image costs ${found['cost_usd']} at {found['upstream']}"

    def image(self) -> str:
        """Generate an image within the request, if the stack's SyncImageSteps allow it."""
        response = self._call("POST", "/generate/sd3", 200, 202, json=REQUEST)
        job = self._remembered(response.json())
        return self._image_of(job if response.status_code == 200 else self._ended(job["id"]))

    def queued(self) -> str:
        """Generate an image by the queue and a worker."""
        headers = {"Prefer": "respond-async"}
        response = self._call("POST", "/generate/sd3", 202, json=REQUEST, headers=headers)
        return self._image_of(self._ended(self._remembered(response.json())["id"]))

    def inbox(self) -> str:
        """Generate an image by a file in the inbox bucket, and read its result file."""
        key = f"{CLIENT}/{self._file}"
        self._s3.put_object(
            Bucket=self._outputs["InboxBucket"], Key=key, Body=json.dumps(REQUEST).encode()
        )
        result = self._wait(self._inbox_result, what=f"result of {key}")
        if "id" in result:
            self._remembered(result)
        if result.get("status") != "succeeded":
            raise SmokeError(f"the result file says {_shown(result)}")
        return f"{result['images'][0]['bytes']} bytes"

    def usage(self) -> str:
        """Wait until the images are in the client's usage."""
        expected = self._images_before + len(self._jobs)
        self._wait(lambda: self._images_used() >= expected, what="entry of each image in the usage")
        return f"{len(self._jobs)} images"

    def delete(self) -> str:
        """Delete the jobs, after which they are gone."""
        for job_id in tuple(self._jobs):
            self._call("DELETE", f"/jobs/{job_id}", 204)
            self._jobs.remove(job_id)
            self._call("GET", f"/jobs/{job_id}", 410)
        return "410 afterwards"

    def clean_up(self) -> None:
        """Remove what a failed step has left: jobs and their images, the file and its result."""
        for job_id in self._jobs:
            self._call("DELETE", f"/jobs/{job_id}", 204, but=410)
        inbox, images = self._outputs["InboxBucket"], self._outputs["ImagesBucket"]
        self._s3.delete_object(Bucket=inbox, Key=f"{CLIENT}/{self._file}")
        self._s3.delete_object(Bucket=images, Key=f"{CLIENT}/inbox/{self._file}")
        self._http.close()

    # ---- What they share -------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, *expected: int, but: int | None = None, **options: Any
    ) -> Any:
        """Call the API; returns None for the status `but`, and raises SmokeError for others."""
        options["headers"] = options.get("headers", {}) | {"Authorization": f"Bearer {self._token}"}
        response = self._http.request(
            method, self._api_url + path, timeout=_HTTP_SECONDS, allow_redirects=False, **options
        )
        if response.status_code == but:
            return None
        if response.status_code not in expected:
            self._jobs += _failed_job(response)
            raise SmokeError(
                f"{method} {path} was answered with {response.status_code}, and not with"
                f" {' or '.join(map(str, expected))}{_error_of(response)}"
            )
        return response

    def _remembered(self, job: dict[str, Any]) -> dict[str, Any]:
        self._jobs.append(job["id"])
        return job

    def _ended(self, job_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job: dict[str, Any] = self._call("GET", f"/jobs/{job_id}", 200).json()
            return None if job["status"] in {"queued", "running"} else job

        return self._wait(look, what=f"end of the job {job_id}")

    def _image_of(self, job: dict[str, Any]) -> str:
        """Fetch a job's image by its link, and compare it with what the job says of it."""
        if job["status"] != "succeeded" or not (image := job["images"][0])["url"]:
            raise SmokeError(f"no image was generated: {_shown(job)}")
        response = self._http.get(image["url"], timeout=_HTTP_SECONDS)
        digest = hashlib.sha256(response.content).hexdigest()
        if response.status_code != 200 or digest != image["sha256"]:
            raise SmokeError(f"the link does not lead to the image: {response.status_code}")
        return f"{len(response.content)} bytes by {image['upstream']}"

    def _inbox_result(self) -> dict[str, Any] | None:
        """Read the result file; None while there is none, or while its job is open."""
        bucket, key = self._outputs["ImagesBucket"], f"{CLIENT}/inbox/{self._file}"
        try:
            found = self._s3.get_object(Bucket=bucket, Key=key)
        except self._s3.exceptions.NoSuchKey:
            return None
        result: dict[str, Any] = json.loads(found["Body"].read())
        return None if result.get("status") in {"queued", "running"} else result

    def _images_used(self) -> int:
        usage = self._call("GET", "/usage", 200).json()
        return int(usage["last_30_days"]["pictures"])

    def _wait(self, look: Callable[[], Found | None], *, what: str) -> Found:
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(_POLL_SECONDS)
        raise SmokeError(f"no {what} within {_WAIT_SECONDS} s")


class Step(NamedTuple):
    """One step, and where to look when it fails."""

    name: str
    run: Callable[[Client], str]
    look: str


STEPS: Final = (
    Step("health", Client.health, "the output ApiUrl, and the log of JobsFunction"),
    Step("dry run", Client.dry_run, "the logs of AuthorizerFunction and GenerateFunction"),
    Step("image", Client.image, "the upstream's key and credit, and the log of GenerateFunction"),
    Step("queued", Client.queued, "the log of WorkerFunction, and the messages in JobsQueue"),
    Step("inbox", Client.inbox, "the log of InboxFunction, and the messages of UnprocessableQueue"),
    Step("usage", Client.usage, "the log and the metric IteratorAge of ChangesFunction"),
    Step("delete", Client.delete, "the log of JobsFunction"),
)


def main(arguments: list[str]) -> int:
    """Run all steps, clean up, and return the exit status, which is 0 if everything works."""
    parser = argparse.ArgumentParser(prog="make smoke", description=__doc__)
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    parser.add_argument("--budget", type=micros, default="1.00", help="dollars a day")
    options = parser.parse_args(arguments)
    try:
        deployed = find_stack(options.stack)
        with _client(deployed, options.budget) as client:
            return _run(client, hint="" if options.stack else ", and at .local/*.log")
    except _ERRORS as error:
        print(f"not finished: {error}", file=sys.stderr)
        return 1


@contextmanager
def _client(deployed: DeployedStack, budget: int) -> Iterator[Client]:
    """Yield a client with a new token, which is revoked at the end, whatever happens."""
    tokens, api_url = deployed.tokens(), deployed.api_url()
    token = tokens.issue(
        CLIENT,
        expires_at=datetime.now(UTC) + TOKEN_LIFE,
        limits={"daily_budget_micros": budget, "max_images": 1},
    )
    try:
        client = Client(deployed, api_url, token)
        try:
            yield client
        finally:
            client.clean_up()
    finally:
        tokens.revoke(CLIENT, sha256_of(token))


def _run(client: Client, *, hint: str) -> int:
    """Run the steps up to the first that fails, and print a line for each."""
    for number, step in enumerate(STEPS, 1):
        start = time.monotonic()
        try:
            seen = step.run(client)
        except (*_ERRORS, LookupError) as error:
            print(f"FAILED  {step.name:<8} {time.monotonic() - start:6.2f} s  {error}", flush=True)
            print(f"look at {step.look}{hint}")
            if rest := ", ".join(each.name for each in STEPS[number:]):
                print(f"not tried: {rest}")
            return 1
        print(f"ok      {step.name:<8} {time.monotonic() - start:6.2f} s  {seen}", flush=True)
    return 0


def _shown(result: dict[str, Any]) -> str:
    """Return what a job or a result file says of its end, without links."""
    names = ("id", "status", "code", "message", "error", "detail")
    return json.dumps({name: result[name] for name in names if name in result})


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
