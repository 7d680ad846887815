"""python -m ops.smoke: use a deployed service as its clients do, and print what works."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

import requests
from botocore.exceptions import BotoCoreError, ClientError

from ops.api_client import ApiClient, ServiceError, shown
from ops.clients import micros
from ops.stacks import DeployedStack, StackError, find_stack
from sd3.adapters.dynamodb.tokens import sha256_of
from sd3.errors import StorageError

CLIENT: Final = "smoke"
TOKEN_LIFE: Final = timedelta(minutes=30)
"""For the case that this process dies before it revokes its token."""

REQUEST: Final = {"prompt": "a lighthouse at dusk", "num_images": 1, "steps": 10}

_ERRORS: Final = (
    StackError, StorageError, BotoCoreError, ClientError, requests.RequestException, ValueError,
)  # fmt: skip


class Client:
    """A client of the service: its jobs, and its file in the inbox."""

    def __init__(self, deployed: DeployedStack, api_url: str, token: str) -> None:
        self._api = ApiClient(deployed, api_url, token)
        self._jobs: list[str] = []
        self._file = f"{CLIENT}/{uuid4().hex}.json"
        self._images_before = 0

    # ---- The steps, in their order. Each returns what was seen -----------------------------------

    def health(self) -> str:
        """Ask whether the service is there. No token is needed."""
        return str(self._api.call("GET", "/health", 200).json()["status"])

    def dry_run(self) -> str:
        """Ask for the price, once the token is known: a refusal is cached for a minute."""
        body = REQUEST | {"dry_run": True}
        found = self._api.wait(
            lambda: self._api.call("POST", "/generate/sd3", 200, but=403, json=body),
            what="acceptance of the new token",
        ).json()
        self._images_before = self._images_used()
        return f"an image costs ${found['cost_usd']} at {found['upstream']}"

    def image(self) -> str:
        """Generate an image within the request, if the stack's SyncImageSteps allow it."""
        response = self._api.call("POST", "/generate/sd3", 200, 202, json=REQUEST)
        job = self._remembered(response.json())
        return self._image_of(job if response.status_code == 200 else self._api.ended(job["id"]))

    def queued(self) -> str:
        """Generate an image by the queue and a worker."""
        headers = {"Prefer": "respond-async"}
        response = self._api.call("POST", "/generate/sd3", 202, json=REQUEST, headers=headers)
        return self._image_of(self._api.ended(self._remembered(response.json())["id"]))

    def inbox(self) -> str:
        """Generate an image by a file in the inbox bucket, and read its result file."""
        self._api.put_file(self._file, REQUEST)
        result = self._api.result_of(self._file)
        if "id" in result:
            self._remembered(result)
        if result.get("status") != "succeeded":
            raise ServiceError(f"the result file says {shown(result)}")
        return f"{result['images'][0]['bytes']} bytes"

    def usage(self) -> str:
        """Wait until the images are in the client's usage."""
        expected = self._images_before + len(self._jobs)
        self._api.wait(
            lambda: self._images_used() >= expected, what="entry of each image in the usage"
        )
        return f"{len(self._jobs)} images"

    def delete(self) -> str:
        """Delete the jobs, after which they are gone."""
        for job_id in tuple(self._jobs):
            self._api.call("DELETE", f"/jobs/{job_id}", 204)
            self._jobs.remove(job_id)
            self._api.call("GET", f"/jobs/{job_id}", 410)
        return "410 afterwards"

    def clean_up(self) -> None:
        """Remove what a failed step has left: jobs and their images, the file and its result."""
        for job_id in (*self._jobs, *self._api.failed_jobs):
            self._api.call("DELETE", f"/jobs/{job_id}", 204, but=410)
        self._api.remove_file(self._file)
        self._api.close()

    # ---- What they share -------------------------------------------------------------------------

    def _remembered(self, job: dict[str, Any]) -> dict[str, Any]:
        self._jobs.append(job["id"])
        return job

    def _image_of(self, job: dict[str, Any]) -> str:
        return f"{len(self._api.image_of(job))} bytes by {job['images'][0]['upstream']}"

    def _images_used(self) -> int:
        return int(self._api.usage()["last_30_days"]["pictures"])


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
