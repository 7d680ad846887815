"""python -m local.demo: send one of everything to the service of `make run`, show what comes."""

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import requests
from botocore.exceptions import BotoCoreError, ClientError

from local.console import Console
from local.environment import ROOT, from_root
from local.webhook_receiver import WebhookReceiver
from ops.api_client import ApiClient, ServiceError, shown
from ops.stacks import RUNNING_STACK, StackError, embedded, read_env

REQUEST: Final = {"prompt": "a lighthouse at dusk by the sea, mountains and trees", "seed": 8}
_ERRORS: Final = (
    StackError, BotoCoreError, ClientError, requests.RequestException, OSError, ValueError,
    LookupError,
)  # fmt: skip
_ROW: Final = "{:<20} {:<10} {:>7} {:>6}  {}"


class Came(NamedTuple):
    """What a step got: the status, what it cost in dollars, and the file or what was seen."""

    status: Any
    cost: float
    what: str


class NotTriedError(Exception):
    """A step needs the image of one that has failed."""


class Demo:
    """One of everything, of the client of `make run`. Each step returns what came."""

    def __init__(
        self, api: ApiClient, client_id: str, folder: Path, show: Callable[[str], None]
    ) -> None:
        self._api, self._folder, self._show = api, folder, show
        self._first: Any = None
        self._file = f"{client_id}/demo-{uuid4().hex}.json"

    def price(self) -> Came:
        """Ask what all the images of the demo cost. Nothing is made or paid."""
        body = REQUEST | {"dry_run": True, "num_images": IMAGES}
        found = self._api.call("POST", "/generate/sd3", 200, json=body).json()
        what = f"{IMAGES} images cost ${found['cost_usd']:.2f} at {found['upstream']}"
        return Came(200, 0, what)

    def answered(self) -> Came:
        """Generate an image within the request."""
        response = self._api.call("POST", "/generate/sd3", 200, json=REQUEST)
        self._first = response.json()
        return self._saved(200, self._first, "answered.jpg")

    def queued(self) -> Came:
        """Generate two images by the queue and a worker, and show how far they are."""
        body = REQUEST | {"num_images": 2, "seed": 20}
        headers = {"Prefer": "respond-async"}
        job = self._api.call("POST", "/generate/sd3", 202, json=body, headers=headers).json()
        job = self._api.ended(job["id"], seen=lambda job: self._show(f"queued: {_state_of(job)}"))
        self._saved(202, job, "queued-1.jpg", 1)
        return self._saved(202, job, "queued-0.jpg")._replace(what="queued-0.jpg, queued-1.jpg")

    def from_image(self) -> Came:
        """Generate an image from the first one."""
        init_image = base64.b64encode(self._api.image_of(self._needed())).decode()
        body = REQUEST | {"prompt": "the same in winter", "init_image": init_image}
        job = self._api.call("POST", "/generate/sd3", 200, json=body).json()
        return self._saved(200, job, "from-image.jpg")

    def openai(self) -> Came:
        """Generate an image as clients of OpenAI's Images API do."""
        body = {"model": "sd3", "prompt": REQUEST["prompt"], "response_format": "url"}
        found = self._api.call("POST", "/images/generations", 200, json=body).json()
        job_id = urlsplit(found["data"][0]["url"]).path.split("/")[-2]  # the answer has no other id
        return self._saved(200, self._api.call("GET", f"/jobs/{job_id}", 200).json(), "openai.jpg")

    def inbox(self) -> Came:
        """Generate an image by a file in the inbox bucket, and read its result file."""
        self._api.put_file(self._file, REQUEST)
        result = self._api.result_of(self._file)
        if result.get("status") != "succeeded":
            raise ServiceError(f"the result file says {shown(result)}")
        job = self._api.call("GET", f"/jobs/{result['id']}", 200).json()
        return self._saved("result", job, "inbox.jpg")

    def batch(self) -> Came:
        """Send requests as one batch, and read its file of results."""
        lines = [
            {"custom_id": name, "prompt": f"a village in {name}"} for name in ("spring", "winter")
        ]
        body = {"requests": lines}
        batch_id = self._api.call("POST", "/batches", 202, json=body).json()["id"]
        batch = self._api.wait(lambda: self._batch(batch_id), what="end of the batch")
        headers = {"Accept": "application/json"}
        found = self._api.call("GET", f"/batches/{batch_id}/results", 200, headers=headers).json()
        for line in self._api.file(found["url"]).splitlines():
            result = json.loads(line)
            if result["status"] != "succeeded":
                raise ServiceError(f"a line of the results says {shown(result)}")
            job = self._api.call("GET", f"/jobs/{result['job_id']}", 200).json()
            self._saved(200, job, f"batch-{result['custom_id']}.jpg")
        return Came(batch["status"], batch["cost_usd"], "batch-spring.jpg, batch-winter.jpg")

    def webhook(self) -> Came:
        """Generate an image whose end is sent to a receiver here, which verifies the message."""
        secret = self._api.call("GET", "/webhook/secret", 200).json()["secret"]
        with WebhookReceiver(secret) as receiver:
            body = REQUEST | {"webhook": {"url": receiver.url}}
            headers = {"Prefer": "respond-async"}
            job = self._api.call("POST", "/generate/sd3", 202, json=body, headers=headers).json()
            message = self._api.wait(
                lambda: receiver.message_of(job["id"]), what="message whose signature fits"
            )
        came = self._saved(message["type"].removeprefix("job."), message["data"], "webhook.jpg")
        return came._replace(what=f"{came.what}, signature fits")

    def rendition(self) -> Came:
        """Get the first image in another size and format."""
        path = f"/jobs/{self._needed()['id']}/images/0?width=256&format=webp"
        found = self._api.call("GET", path, 200, headers={"Accept": "application/json"}).json()
        return Came(200, 0, self._file_of(self._api.file(found["url"]), "rendition.webp"))

    def verified(self) -> Came:
        """Ask whether the first image is one of this service, and unchanged."""
        image = self._api.image_of(self._needed())
        found = self._api.call("POST", "/verify", 200, files={"image": image}).json()
        if not found["ours"] or found["bytes"] != "exact":
            raise ServiceError(f"the image is not known: {found}")
        return Came(200, 0, "ours, and unchanged")

    def reproduced(self) -> Came:
        """Generate the first image again."""
        job = self._api.call("POST", f"/jobs/{self._needed()['id']}/reproduce", 200).json()
        return self._saved(200, job, "reproduced.jpg")

    def clean_up(self) -> None:
        """Remove the file of the inbox and its result. The jobs stay, for the playground."""
        self._api.remove_file(self._file)

    def _batch(self, batch_id: str) -> Any:
        """Read a batch; None while it has no end."""
        batch = self._api.call("GET", f"/batches/{batch_id}", 200).json()
        if batch["completed_at"]:
            return batch
        counts = batch["request_counts"]
        self._show(f"batch: {counts['completed']} of {counts['total']} lines")
        return None

    def _needed(self) -> Any:
        if self._first is None:
            raise NotTriedError("needs the first image")
        return self._first

    def _saved(self, status: Any, job: Any, name: str, index: int = 0) -> Came:
        what = self._file_of(self._api.image_of(job, index), name)
        return Came(status, job["cost_usd"], what)

    def _file_of(self, content: bytes, name: str) -> str:
        (self._folder / name).write_bytes(content)
        return name


class Step(NamedTuple):
    """One way in or out, and how many images it generates."""

    name: str
    run: Callable[[Demo], Came]
    images: int


STEPS: Final = (
    Step("price (dry_run)", Demo.price, 0),
    Step("answered at once", Demo.answered, 1),
    Step("queued", Demo.queued, 2),
    Step("from an init image", Demo.from_image, 1),
    Step("OpenAI's Images API", Demo.openai, 1),
    Step("file in the inbox", Demo.inbox, 1),
    Step("batch", Demo.batch, 2),
    Step("webhook", Demo.webhook, 1),
    Step("rendition", Demo.rendition, 0),
    Step("verify", Demo.verified, 0),
    Step("reproduce", Demo.reproduced, 1),
)
IMAGES: Final = sum(step.images for step in STEPS)


def main(arguments: list[str], console: Console | None = None) -> int:
    """Run all steps and print a table; return the exit status, which is 0 if everything works."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="generate where it costs money")
    parser.add_argument("--env", type=Path, default=RUNNING_STACK, help="settings of `make run`")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local/demo", help="for images")
    options = parser.parse_args(arguments)
    console = console or Console()
    try:
        env = read_env(options.env)
        options.folder.mkdir(parents=True, exist_ok=True)
        return _demonstrate(env, options.folder, console, is_allowed=options.yes)
    except FileNotFoundError:
        console.line("no service is running here: start `make run` in another terminal first")
    except _ERRORS as error:
        console.clear()
        console.line(f"not done: {error}\nIs `make run` still running?")
    except KeyboardInterrupt:
        console.clear()
        console.line("\nstopped")
    return 1


def _demonstrate(
    env: Mapping[str, str], folder: Path, console: Console, *, is_allowed: bool
) -> int:
    deployed = embedded(env)
    api = ApiClient(deployed, env["SD3_API_URL"], env["SD3_API_TOKEN"])
    demo = Demo(api, env["SD3_CLIENT"], folder, console.spin)
    try:
        before = api.usage()["today"]
        # The model server of `make run` costs nothing. Anything else may be a vendor.
        is_paid = deployed.parameters()["UpstreamUrl"] != env.get("SD3_UPSTREAM_URL")
        if is_paid and not is_allowed and not _agreed(demo.price().what, console):
            return 1
        if not _run(demo, console):
            return 1
        _show_usage(api, before, IMAGES, console)
        console.line(f"images: {from_root(folder)}/; the jobs: the playground, or GET /jobs")
        return 0
    finally:
        demo.clean_up()
        api.close()


def _agreed(price: str, console: Console) -> bool:
    """Ask whether the images may be paid. Nobody can be asked where there is no terminal."""
    console.line(f"The demo's {price}.")
    if console.is_terminal and sys.stdin.isatty():
        return input("Generate them? [y/N] ").strip().lower() in {"y", "yes"}
    console.line("Nothing was generated: `make demo YES=1` does it.")
    return False


def _run(demo: Demo, console: Console) -> bool:
    """Run each step and print its row; return whether all have worked."""
    errors: list[str] = []
    console.line("  " + _ROW.format("way in", "status", "time", "cost", "image"))
    for step in STEPS:
        console.spin(step.name)
        start = time.monotonic()
        try:
            came, mark = step.run(demo), console.good()
        except (*_ERRORS, NotTriedError) as error:
            came, mark = Came("-", 0, "failed: see below"), console.bad()
            errors.append(f"{step.name}: {error}")
        seconds, cost = f"{time.monotonic() - start:.2f} s", f"${came.cost:.2f}"
        console.clear()
        console.line(f"{mark} " + _ROW.format(step.name, came.status, seconds, cost, came.what))
    for text in errors:
        console.line(f"\n{text}")
    return not errors


def _show_usage(api: ApiClient, before: Any, images: int, console: Console) -> None:
    """Print the day's usage before and after, once all images are counted. Raises StackError."""

    def counted() -> Any:
        day = api.usage()["today"]
        is_counted = day["pictures"] >= before["pictures"] + images and not day["reserved_usd"]
        return day if is_counted else None

    console.spin("today's usage")
    after = api.wait(counted, what="entry of each image in the day's usage")
    console.clear()
    console.line(f"\ntoday: {_day(before)} before; {_day(after)} after")


def _day(usage: Any) -> str:
    return f"${usage['cost_usd']:.2f} for {usage['pictures']} images"


def _state_of(job: Any) -> str:
    """Say how far a job is, as the service tells it."""
    if (position := job.get("queue_position")) is not None:
        return f"{position} jobs before it"
    if progress := job.get("progress"):
        return f"{progress['done']} of {progress['of']} images"
    return str(job["status"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
