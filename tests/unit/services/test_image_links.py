"""Links to single images and to their renditions, over fakes."""

from typing import Any

import pytest

from sd3.domain.image import Image
from sd3.domain.job import ImageRecord, JobError
from sd3.domain.rendition import ImageQuery, Rendition, StoredFile
from sd3.errors import GoneError, InvalidRequestError, NotFoundError, StorageError
from sd3.responses.models import ImageLinkResponse
from sd3.services.image_links import ImageLinks
from tests.support.factories.images import jpeg
from tests.support.fakes.changing_jobs import END, ChangingJobs, job, running
from tests.support.fakes.ports import NOON, FakeImages, FakeTime

IMAGE = Image(jpeg(300, 200), "image/jpeg", 300, 200)
STORED: dict[str, Any] = {
    "key": "ann/job-1/0.jpg",
    "content_type": "image/jpeg",
    "width": 300,
    "height": 200,
    "bytes": len(IMAGE.data),
}
RECORDS = (
    ImageRecord(index=0, seed=1, **STORED),
    ImageRecord(index=1, seed=2, removed_for_safety=True),
    ImageRecord(index=2, seed=3, error=JobError(code="upstream_error", message="It broke.")),
    ImageRecord(index=3, seed=4),
)


class FakeRenditions:
    """Renditions as a dict, and the number of those that were made."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, Rendition], bytes] = {}
        self.made = 0

    def find(self, image_key: str, rendition: Rendition, **_: Any) -> StoredFile | None:
        data = self.stored.get((image_key, rendition))
        return (data and StoredFile(f"rendition/{image_key}", len(data))) or None

    def save(self, image_key: str, rendition: Rendition, data: bytes) -> StoredFile:
        self.made += 1
        self.stored[image_key, rendition] = data
        return StoredFile(f"rendition/{image_key}", len(data))


class World:
    """A job of four images, one of which is stored."""

    def __init__(self, image: Image = IMAGE) -> None:
        self.images, self.renditions, self.clock = FakeImages(), FakeRenditions(), FakeTime()
        self.images.objects["ann/job-1/0.jpg"] = image
        self.jobs = ChangingJobs(job(images=RECORDS, **END))

    def get(self, index: str = "0", **query: Any) -> ImageLinkResponse:
        links = ImageLinks(
            jobs=self.jobs,
            images=self.images,
            renditions=self.renditions,
            clock=self.clock.time(),
        )
        asked = ImageQuery.model_validate(query)
        return links.get("job-1", index, asked, client_id="ann", accepted="image/webp")


def test_an_image_is_a_link_signed_now() -> None:
    world = World()
    world.clock.advance(60)
    link = world.get()
    assert link.url == "https://images.test/ann/job-1/0.jpg"
    assert (link.expires_at - NOON).total_seconds() == 61 * 60
    assert link.model_dump(exclude={"url", "expires_at"}).items() < STORED.items()
    assert world.images.reads == world.renditions.made == 0


def test_a_rendition_is_made_once() -> None:
    world = World()
    first, second = world.get(width="128"), world.get(width="128")
    assert first == second
    assert (first.content_type, first.width, first.height) == ("image/webp", 128, 85)
    assert world.renditions.made == world.images.reads == 1


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("1", "The image was removed for safety."),
        ("2", "The image was not generated: It broke."),
        ("3", "The image could not be stored."),
        ("16", "The job has no such image: its images are 0 to 3."),
        *((text, "The job has no such image: its images are 0 to 3.")
          for text in ("-1", "00", "", "x", "\u0660", "9" * 5000)),
    ],
)  # fmt: skip
def test_an_image_that_is_not_there_is_not_found_for_a_reason(index: str, reason: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        World().get(index, width="64")
    assert caught.value.message == reason


def test_a_job_that_runs_has_no_image() -> None:
    world = World()
    world.jobs = ChangingJobs(running())
    with pytest.raises(NotFoundError, match="it is running"):
        world.get()


def test_a_job_that_has_expired_is_gone() -> None:
    world = World()
    world.clock.advance(24 * 60 * 60)
    with pytest.raises(GoneError):
        world.get(width="64")


@pytest.mark.parametrize("query", [{}, {"width": "64"}])
def test_no_link_outlives_its_job(query: dict[str, str]) -> None:
    world = World()
    expires_at = world.jobs.items["job-1"].expires_at
    world.clock.advance((expires_at - NOON).total_seconds() - 60)
    assert world.get(**query).expires_at == expires_at


def test_a_width_that_the_image_does_not_have_names_those_that_it_has() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        World().get(width="384")
    [error] = caught.value.field_errors
    assert error.loc == ("query", "width")
    assert error.msg == "Input should be one of 64, 128, 256, once: the image is 300 pixels wide"


def test_a_damaged_image_has_no_rendition_and_is_still_there() -> None:
    world = World(IMAGE._replace(data=IMAGE.data[:-500] + bytes(500)))
    with pytest.raises(NotFoundError, match="damaged"):
        world.get(format="avif")
    assert world.get().url


@pytest.mark.parametrize(("provenance", "is_marked"), [("upstream", True), ("basic", False)])
def test_a_rendition_of_an_image_with_another_kind_of_mark_is_marked_by_xmp(
    provenance: str, is_marked: bool
) -> None:
    """Such as a C2PA manifest, which is of the file that it came in."""
    world = World()
    records = (RECORDS[0].model_copy(update={"provenance": provenance}),)
    world.jobs = ChangingJobs(job(images=records, **END))
    world.get(width="64")
    [made] = world.renditions.stored.values()
    assert (b"digitalsourcetype/trainedAlgorithmicMedia" in made) is is_marked


def test_an_image_that_cannot_be_read_is_a_failure_of_storage() -> None:
    world = World()
    world.images.objects.clear()
    with pytest.raises(StorageError):
        world.get(width="64")
