"""One of everything that the service does, as steps that a client takes: requests and files."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from local.webhook_receiver import WebhookReceiver
from ops.api_client import ApiClient, ServiceError, shown

REQUEST: Final = {"prompt": "a lighthouse at dusk by the sea, mountains and trees", "seed": 8}


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
        job = self._api.ended(job["id"], seen=lambda job: self._show(f"queued: {state_of(job)}"))
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
        seasons = ("spring", "winter")
        body = {"requests": [{"custom_id": s, "prompt": f"a village in {s}"} for s in seasons]}
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
        return Came(batch["status"], batch["cost_usd"], "batch-spring.jpg, -winter.jpg")

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


def state_of(job: Any) -> str:
    """Say how far a job is, as the service tells it."""
    if (position := job["queue_position"]) is not None:
        eta = job["eta_seconds"]
        text = f"{position} before it" if position else "next"
        return text if eta is None else f"{text}, ends in some {eta:.0f} s"
    if progress := job["progress"]:
        return f"{progress['done']} of {progress['of']} images"
    return str(job["status"])
