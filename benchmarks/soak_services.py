"""What the soak has instead of S3, EventBridge and vendors: in memory, counted, and unreliable."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from benchmarks.environments import Environment
from benchmarks.virtual_time import VirtualTime
from sd3.domain.generation import GeneratedImage, GenerationTask, SavedImages, UpstreamResult
from sd3.domain.image import Image, Link
from sd3.domain.job import ImageRecord
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    FieldError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnchargedError,
)
from sd3.services.ports import Finish
from sd3.settings import Rate

PRICE: Final = 30_000
"""Micro-dollars of an image."""
EVENT_SECONDS: Final = 0.02
IMAGE_SECONDS: Final = 0.04
GENERATION_SECONDS: Final = (0.3, 5.0)
PICTURE: Final = Image(b"a picture", "image/png", 1024, 1024)


@dataclass
class EventBus:
    """The bus: which jobs' ends it has events of."""

    time: VirtualTime
    published: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many events each job and end has."""

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Take events."""
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            self.published[detail["id"], detail["status"]] += 1
        self.time.sleep(EVENT_SECONDS)
        return {"Entries": [{} for _ in Entries]}


class Bucket:
    """The bucket of the images: the keys that it has."""

    def __init__(self) -> None:
        self.keys: set[str] = set()


class Images:
    """The part of ImageStorage that jobs use, for one process."""

    def __init__(self, bucket: Bucket, process: Environment, failing: float) -> None:
        """Use the bucket from a process; a share of calls fails, after they were done or before."""
        self._bucket, self._process, self._failing = bucket, process, failing

    def save_init_image(self, folder: str, image: Image) -> str:  # noqa: ARG002 - the Protocol's
        """Store an init image."""
        key = f"{folder}/init.png"
        self._call([key], ())
        return key

    def get_init_image(self, key: str) -> Image:  # noqa: ARG002
        """Return an init image, as it is there for as long as its job needs it."""
        self._call((), ())
        return PICTURE

    def save_all(
        self,
        folder: str,
        generated: Sequence[GeneratedImage],
        finish: Finish,  # noqa: ARG002 - no image is looked at
    ) -> SavedImages:
        """Store the images of a job."""
        keys = [f"{folder}/{index}.png" for index, one in enumerate(generated) if one.image]
        self._call(keys, ())
        records = tuple(
            ImageRecord(
                index=index,
                seed=one.seed,
                upstream=one.upstream,
                error=one.error,
                key=f"{folder}/{index}.png" if one.image else None,
                bytes=len(one.image.data) if one.image else None,
            )
            for index, one in enumerate(generated)
        )
        return SavedImages(records, tuple(generated))

    def read_all(self, records: Sequence[ImageRecord]) -> Mapping[int, bytes]:  # noqa: ARG002
        """Return no images, as for those that cannot be read."""
        return {}

    def delete_all(self, folder: str, *, count: int) -> None:
        """Remove what is in the folder of a job."""
        names = [f"{index}.png" for index in range(count)]
        self._call((), [f"{folder}/{name}" for name in (*names, "init.png")])

    def delete_renditions(self, folder: str) -> None:
        """Remove nothing: clients here ask for no renditions."""

    def sign(
        self,
        key: str,
        *,
        until: datetime,
        now: datetime,
        disposition: str | None = None,  # noqa: ARG002
    ) -> Link:
        """Return a link."""
        return Link(f"https://images.test/{key}", min(until, now + timedelta(hours=1)))

    def _call(self, added: Sequence[str], removed: Sequence[str]) -> None:
        cloud = self._process.cloud
        self._process.step()
        luck = cloud.random.random()
        if luck >= self._failing / 2:
            self._bucket.keys.update(added)
            self._bucket.keys.difference_update(removed)
        cloud.time.sleep(IMAGE_SECONDS)
        self._process.step()
        if luck < self._failing:
            raise StorageError("S3 is out of order.")


class Fate(NamedTuple):
    """What becomes of a call to a vendor."""

    share: float
    """Of all calls."""
    error: type[Sd3Error] | None
    is_paid: bool
    """Whether the vendor generates the images, and so bills them."""


FATES: Final = (
    Fate(0.004, UpstreamTimeoutError, is_paid=True),
    Fate(0.004, UpstreamTimeoutError, is_paid=False),
    Fate(0.004, UpstreamFailedError, is_paid=True),
    Fate(0.004, UpstreamFailedError, is_paid=False),
    Fate(0.002, UpstreamResponseError, is_paid=True),
    Fate(0.002, UpstreamUnchargedError, is_paid=False),
    Fate(0.001, UpstreamThrottledError, is_paid=False),
    Fate(0.002, UpstreamUnavailableError, is_paid=False),
    Fate(0.002, ContentPolicyError, is_paid=False),
)
GENERATED: Final = Fate(1.0, None, is_paid=True)


@dataclass
class Vendors:
    """All vendors together: how many images they have billed, by job and attempt."""

    random: Random
    billed: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Images that were generated."""
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Images that were sent as an answer, whether or not anybody was there to take it."""
    faults: Counter[str] = field(default_factory=Counter)
    attempts: dict[str, int] = field(default_factory=dict)
    """The attempt that each job is at, as the jobs table has it."""

    def fate(self) -> Fate:
        """Choose what becomes of a call."""
        luck = self.random.random()
        for fate in FATES:
            luck -= fate.share
            if luck < 0:
                return fate
        return GENERATED


class Vendor:
    """A vendor as the Upstream of one process, that generates one image a call."""

    images_per_call = 1
    rate: Rate | None = None
    model: str | None = None
    pause_seconds = 1

    def __init__(self, name: str, vendors: Vendors, process: Environment) -> None:
        self.name = name
        self._vendors, self._process = vendors, process

    def price(self, request: GenerateRequest) -> int:  # noqa: ARG002 - the Protocol's, as below
        """Return the micro-dollars of an image."""
        return PRICE

    def unsupported(
        self,
        request: GenerateRequest,  # noqa: ARG002
        *,
        has_image: bool,  # noqa: ARG002
    ) -> Sequence[FieldError]:
        """Return no errors."""
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:  # noqa: ARG002
        """Return no fields."""
        return ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate after some seconds, or fail. Raises UpstreamError."""
        process, vendors = self._process, self._vendors
        process.step()
        fate = vendors.fate()
        job_id = task.origin.job_id
        place = (job_id, vendors.attempts[job_id])
        if fate.is_paid:
            vendors.billed[place] += len(task.seeds)
        now = process.cloud.time.now
        seconds = process.cloud.random.uniform(*GENERATION_SECONDS)
        if fate.error is UpstreamTimeoutError:
            seconds = max(task.deadline - now, 0.0)
        process.cloud.time.sleep(seconds)
        if fate.error is None:
            vendors.answered[place] += len(task.seeds)
        process.step()
        if fate.error:
            vendors.faults[fate.error.__name__] += 1
            raise fate.error("The vendor has failed.")
        images = tuple(GeneratedImage(seed, PICTURE) for seed in task.seeds.values())
        return UpstreamResult(images, seconds * 1000)
