"""Images of a deployment that signs: marked first, and stored whether they can be signed or not."""

from datetime import timedelta

import pytest

from sd3.domain.billing import Quote
from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.provenance import SOURCE_TYPES, Facts, Mode
from sd3.domain.request import GenerateRequest
from sd3.domain.xmp import read_marks
from sd3.services.execution import JobExecutor
from sd3.services.provenance import ImageMarker
from tests.support.factories.images import chunk, png
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeMetrics,
    FakeTime,
    FakeUpstream,
    fallback,
    sample_image,
)

PNG = png()
QUOTE = Quote(upstream="fake", micros=30_000)
SIGNATURE = b" and a signature"


class Signer:
    """Signs what is marked already, or fails; notes what it was told, and when it first was."""

    def __init__(self, events: list[str], *, error: Exception | None = None) -> None:
        self.events, self.error = events, error
        self.facts: Facts | None = None

    def prefetch(self) -> None:
        self.events.append("prefetch")

    def sign(self, data: bytes, content_type: str, facts: Facts) -> bytes:
        if self.error:
            raise self.error
        self.facts = facts
        return data + SIGNATURE


class PngUpstream(FakeUpstream):
    """Generates this one file."""

    def __init__(self, events: list[str], data: bytes) -> None:
        super().__init__()
        self.events, self.data = events, data

    def generate(self, task: GenerationTask) -> UpstreamResult:
        self.events.append("generate")
        result = super().generate(task)
        image = sample_image()._replace(data=self.data, content_type="image/png")
        return result._replace(images=tuple(one._replace(image=image) for one in result.images))


class World:
    """One job of one image, executed."""

    def __init__(
        self, *, error: Exception | None = None, mode: Mode = Mode.BASIC, data: bytes = PNG
    ) -> None:
        self.events: list[str] = []
        self.images, self.metrics = FakeImages(), FakeMetrics()
        self.signer = Signer(self.events, error=error)
        executor = JobExecutor(
            jobs=FakeJobs(),
            images=self.images,
            generator=fallback(PngUpstream(self.events, data)),
            clock=FakeTime().time(),
            metrics=self.metrics,
            marker=ImageMarker(mode=mode, signer=self.signer),
        )
        job = Job(
            id="job-1",
            client_id="ann",
            status=JobStatus.QUEUED,
            created_at=NOON,
            expires_at=NOON + timedelta(days=30),
            request=GenerateRequest(prompt="a fox"),
            seeds=(7,),
        ).start(now=NOON, seconds=60, quote=QUOTE)
        self.job = executor.execute(job, None, until=1060).job

    @property
    def record(self) -> ImageRecord:
        return self.job.images[0]

    @property
    def stored(self) -> bytes:
        [image] = self.images.objects.values()
        return image.data


@pytest.mark.parametrize("mode", Mode)
def test_a_file_is_signed_after_it_is_marked(mode: Mode) -> None:
    world = World(mode=mode)
    assert world.record.c2pa is True
    assert world.stored.endswith(SIGNATURE)
    packet = read_marks(world.stored, "image/png").packet
    assert world.signer.facts
    said = SOURCE_TYPES + world.signer.facts.source_type
    assert (said.encode() in packet) == (mode is not Mode.NONE)
    assert not world.metrics.of("ImagesNotSigned")


def test_the_key_is_read_beside_the_call_to_the_upstream() -> None:
    assert World().events == ["prefetch", "generate"]


def test_a_paid_image_is_stored_with_its_mark_where_it_cannot_be_signed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(error=ValueError("the certificate has ended"))
    assert (world.job.status, world.record.c2pa) == (JobStatus.SUCCEEDED, False)
    assert read_marks(world.stored, "image/png").packet
    assert world.metrics.of("ImagesNotSigned") == [(1, {})]
    assert "the certificate has ended" in caplog.text
    assert "a fox" not in caplog.text


def test_a_file_with_a_manifest_of_the_upstream_is_stored_as_it_is() -> None:
    data = PNG[:33] + chunk(b"caBX", b"jumb") + PNG[33:]
    world = World(data=data)
    assert (world.stored, world.record.c2pa) == (data, None)
    assert world.record.provenance == "upstream"
