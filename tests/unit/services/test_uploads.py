"""A request that starts from an upload: read, checked and stored when its job is created."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.client import NO_LIMITS
from sd3.domain.image import MAX_UPLOAD_BYTES, read_image
from sd3.domain.request import UploadRequest, fingerprint_of
from sd3.errors import FieldError, GoneError, IdempotencyMismatchError, InvalidRequestError
from sd3.services.uploads import UploadForms
from sd3.upstreams.octoai import request_body
from tests.support.factories.images import black_png, flat, jpeg, png
from tests.support.factories.submissions import World, caller, request
from tests.support.fakes.ports import (
    NOON,
    FakeCounts,
    FakeImages,
    FakeTime,
    FakeUploads,
    FakeUpstream,
    make_service,
)

UPLOAD_ID = "0123456789abcdef" * 2
DAY = 86_400
NOT_FOUND = FieldError(("body", "init_image_id"), "not found or expired", "not_found")


def from_upload(**values: Any) -> Any:
    return request(init_image_id=UPLOAD_ID, **values)


def world_with(data: bytes, *, client_id: str = "ann") -> World:
    """Make a world in which a client has uploaded this now."""
    world = World()
    world.uploads.sent[client_id, UPLOAD_ID] = data, NOON
    return world


def rejected(world: World, *, key: str | None = None) -> FieldError:
    """Return the one error of a request with the upload, and check that nothing was changed."""
    with pytest.raises(InvalidRequestError) as caught:
        world.submit(from_upload(), caller(key=key))
    assert not world.jobs.items
    assert not world.jobs.keys
    assert not world.images.objects
    assert not world.queue.sent
    (field_error,) = caught.value.field_errors
    return field_error


def test_a_form_is_for_the_client_and_a_new_id() -> None:
    counts = FakeCounts()
    forms = UploadForms(uploads=FakeUploads(), counts=counts, clock=FakeTime().time())
    wanted = UploadRequest(content_type="image/png")
    one, two = (forms.create(wanted, client_id="ann", limits=NO_LIMITS) for _ in range(2))
    assert counts.uploads == {"ann": 2}
    assert one.id != two.id
    assert one.fields == {"key": f"ann/{one.id}", "Content-Type": "image/png"}
    assert (one.url, one.max_bytes) == ("https://uploads.test/", 20_000_000)
    assert one.expires_at == NOON + timedelta(minutes=15)
    assert request(init_image_id=one.id).init_image_id == one.id


def test_an_upload_is_copied_as_the_jobs_own_init_image() -> None:
    data = jpeg(200, 100)
    world = world_with(data)
    job = world.submit(from_upload(), caller(key=None)).job
    assert job.init_image_key == "ann/job-1/init.jpg"
    stored = world.images.objects[job.init_image_key]
    assert stored == (data, "image/jpeg", 200, 100)
    assert job.request.init_image_id == UPLOAD_ID


def test_an_upload_serves_several_jobs_for_a_day() -> None:
    world = world_with(png())
    for second in range(3):
        world.clock.advance((DAY - 1) / 3)
        assert world.submit(from_upload(), caller(f"job-{second}", key=None)).is_new
    assert len(world.images.objects) == 3
    world.clock.advance(1)
    with pytest.raises(InvalidRequestError):
        world.submit(from_upload(), caller("late", key=None))
    assert "late" not in world.jobs.items


def test_a_request_from_an_upload_is_generated_over_it() -> None:
    upstream, uploads, images = FakeUpstream(), FakeUploads(), FakeImages()
    uploads.sent["ann", UPLOAD_ID] = png(), NOON
    service = make_service(upstream=upstream, uploads=uploads, images=images)
    response = service.generate(from_upload(), caller(key=None)._replace(respond_async=False))
    (generated_over,) = upstream.init_images
    assert generated_over
    assert (generated_over.data, response.status) == (png(), "succeeded")


def test_an_upstream_never_sees_the_id() -> None:
    assert b"init_image_id" not in request_body(from_upload(), [7], read_image(png()))


def test_unsupported_depends_on_whether_there_is_an_image() -> None:
    class TextOnly(FakeUpstream):
        def unsupported(self, _request: Any, *, has_image: bool) -> list[FieldError]:
            return (
                [FieldError(("body", "init_image"), "not by this upstream", "x")]
                if has_image
                else []
            )

    world = world_with(png())
    world.upstream = TextOnly()
    assert rejected(world).msg == "not by this upstream"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the image is empty"),
        (b"<svg/>" * 100, "PNG, JPEG, WebP, AVIF or HEIC"),
        (flat(64, 64, kind="gif"), "PNG, JPEG, WebP, AVIF or HEIC"),
        (png()[:-20], "cut off"),
        (png()[:100] + bytes(9) + png()[109:], "damaged"),
        (jpeg().replace(b"\xff\xdb", b"\xff\xfe"), "damaged"),
        (flat(5000, 5000), "64 to 4096 pixels a side"),
        (flat(5000, 5000, kind="jpeg"), "64 to 4096 pixels a side"),
        (flat(63, 64), "64 to 4096 pixels a side"),
        (black_png(64, 64, more_bytes=-1), "damaged"),
        (png() + b"x" * MAX_UPLOAD_BYTES, "more than 20000000 bytes"),
    ],
    ids=range(11),
)
def test_an_upload_that_is_no_valid_image_is_rejected_and_changes_nothing(
    data: bytes, reason: str
) -> None:
    field_error = rejected(world_with(data))
    assert (field_error.loc, field_error.type) == (("body", "init_image_id"), "picture")
    assert reason in field_error.msg


def test_another_clients_upload_is_as_none_at_all() -> None:
    assert rejected(world_with(png(), client_id="bob")) == rejected(World()) == NOT_FOUND


@pytest.mark.parametrize("key", [None, "key"])
def test_a_call_is_repeated_after_its_upload_has_expired(key: str | None) -> None:
    world = world_with(png())
    first = world.submit(from_upload(), caller("job-1", key=key))
    world.clock.advance(DAY)
    again = world.submit(from_upload(), caller("job-2" if key else "job-1", key=key))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.job.id == "job-1"
    assert list(world.images.objects) == ["ann/job-1/init.jpg"]


def test_a_call_is_repeated_after_its_upload_was_sent_again() -> None:
    world = world_with(png())
    world.submit(from_upload(), caller("job-1"))
    world.uploads.sent["ann", UPLOAD_ID] = jpeg(), NOON
    assert world.submit(from_upload(), caller("job-2")).job.id == "job-1"
    assert list(world.images.objects) == ["ann/job-1/init.jpg"]


def test_a_new_key_finds_no_job_of_an_upload_that_has_expired() -> None:
    world = world_with(png())
    world.clock.advance(DAY)
    assert rejected(world, key="new") == NOT_FOUND


def test_a_key_that_is_free_again_cannot_generate_from_an_upload_that_has_expired() -> None:
    world = world_with(png())
    world.submit(from_upload(), caller("job-1"))
    world.fail("job-1", "upstream_error")
    world.clock.advance(DAY)
    with pytest.raises(InvalidRequestError) as caught:
        world.submit(from_upload(), caller("job-2"))
    assert caught.value.field_errors == (NOT_FOUND,)


def test_a_key_with_another_request_is_a_mismatch_whatever_became_of_its_upload() -> None:
    world = world_with(png())
    world.submit(request(), caller("job-1"))
    world.clock.advance(DAY)
    with pytest.raises(IdempotencyMismatchError):
        world.submit(from_upload(), caller("job-2"))


def test_a_deleted_jobs_key_is_gone_with_it_whatever_became_of_its_upload() -> None:
    world = world_with(png())
    job = world.submit(from_upload(), caller("job-1")).job
    world.fail("job-1", "content_policy")
    world.jobs.delete(job, now=NOON)
    world.clock.advance(DAY)
    with pytest.raises(GoneError):
        world.submit(from_upload(), caller("job-2"))


def test_a_fingerprint_is_of_the_uploads_id() -> None:
    other = request(init_image_id="f" * 32)
    assert len({fingerprint_of(one) for one in (request(), from_upload(), other)}) == 3
