"""Placeholders of a job's images, and that no fault of theirs costs an image."""

from typing import Any

import pytest

from sd3.domain import placeholder
from sd3.domain.image import read_image
from sd3.domain.job import Job, JobStatus
from tests.support.factories.images import jpeg
from tests.support.fakes.changing_jobs import running
from tests.support.fakes.ports import (
    FakeImages,
    FakeJobs,
    FakeUpstream,
    fallback,
    make_executor,
)


def executed(images: FakeImages, **request: Any) -> Job:
    """Generate three images: one that can be decoded, one that cannot, and one that is removed."""
    upstream = FakeUpstream(removed=[2])
    generate = upstream.generate

    def generate_photo(task: Any) -> Any:
        result = generate(task)
        photo = result.images[0]._replace(image=read_image(jpeg(320, 240)))
        return result._replace(images=(photo, *result.images[1:]))

    upstream.generate = generate_photo  # type: ignore[method-assign]
    executor = make_executor(jobs=FakeJobs(), images=images, generator=fallback(upstream))
    asked = {"prompt": "a fox", "num_images": 3} | request
    return executor.execute(running(request=asked, seeds=(1, 2, 3)), None, until=1060).job


def test_an_image_has_a_placeholder_if_it_can_be_decoded() -> None:
    images = FakeImages()
    job = executed(images, placeholder="thumbhash")
    assert [record.thumbhash is not None for record in job.images] == [True, False, False]
    assert [record.key is not None for record in job.images] == [True, True, False]
    assert job.images[0].thumbhash == placeholder.make_thumbhash(read_image(jpeg(320, 240)))


def test_no_image_has_one_that_nobody_asked_for() -> None:
    assert not any(record.thumbhash for record in executed(FakeImages()).images)


def test_a_bug_in_a_placeholder_loses_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> str:
        raise RuntimeError

    monkeypatch.setattr(placeholder, "make_thumbhash", fail)
    images = FakeImages()
    job = executed(images, placeholder="thumbhash")
    assert (job.status, len(images.objects)) == (JobStatus.SUCCEEDED, 2)
    assert not any(record.thumbhash for record in job.images)
