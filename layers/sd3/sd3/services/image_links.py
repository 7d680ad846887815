"""The use case of one image: a link to it, or to a rendition that is made at its first use."""

from dataclasses import dataclass

from sd3.domain.file_name import content_disposition
from sd3.domain.image import read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.job import ImageRecord, Job
from sd3.domain.provenance import COMPOSITE, TRAINED, Facts, packet_of
from sd3.domain.rendition import ImageQuery, Rendition, StoredFile, render
from sd3.errors import NotFoundError, StorageError
from sd3.responses.models import ImageLinkResponse
from sd3.services.ports import Clock, ImageStorage, JobRepository, RenditionStorage
from sd3.services.provenance import UPSTREAM


@dataclass(frozen=True, kw_only=True)
class ImageLinks:
    """Signs links to single images and their renditions."""

    jobs: JobRepository
    images: ImageStorage
    renditions: RenditionStorage
    clock: Clock

    def get(
        self, job_id: str, index: str, query: ImageQuery, *, client_id: str, accepted: str
    ) -> ImageLinkResponse:
        """Sign a link to what the query asks for; `accepted` is the type that `auto` means.

        Raises NotFoundError, which says why there is no such image, GoneError,
        InvalidRequestError for a width that the image does not have, and StorageError.
        """
        now = self.clock.now()
        job = self.jobs.get(job_id, client_id=client_id, now=now)
        record, key = _found(job, index)
        rendition = query.rendition_of(record, accepted=accepted)
        if rendition is None:
            rendition = Rendition(record.content_type or "", record.width or 0, record.height or 0)
            stored = StoredFile(key, record.bytes or 0)
        else:
            found = self.renditions.find(key, rendition, now=now)
            stored = found or self._make(job, record, key, rendition)
        disposition = query.download and content_disposition(query.download, rendition.content_type)
        link = self.images.sign(
            stored.key, until=job.expires_at, now=self.clock.now(), disposition=disposition
        )
        return ImageLinkResponse(
            url=link.url, expires_at=link.expires_at, bytes=stored.bytes, **rendition._asdict()
        )

    def _make(self, job: Job, record: ImageRecord, key: str, rendition: Rendition) -> StoredFile:
        data = self.images.read_all([record]).get(record.index)
        if data is None:
            raise StorageError("The image could not be read.")
        try:
            made = render(read_image(data), rendition, packet=_packet(job, record, data))
        except InvalidImageError as error:
            raise NotFoundError(
                "The image is damaged: it is there without width and format only."
            ) from error
        return self.renditions.save(key, rendition, made)


def _packet(job: Job, record: ImageRecord, original: bytes) -> bytes:
    """Write a mark for a rendition of an image that came with one, which was perhaps no XMP.

    A C2PA manifest is of the file that it came in. Upstreams that write one have trained models.
    """
    if record.provenance != UPSTREAM:
        return b""
    has_init_image = job.init_image_key is not None
    facts = Facts(
        job_id=job.id,
        index=record.index,
        client_id=job.client_id,
        seed=record.seed,
        created_at=job.created_at,
        source_type=COMPOSITE if has_init_image else TRAINED,
        upstream=record.upstream,
        model=record.model,
    )
    return packet_of(facts, original, None)


def _found(job: Job, index: str) -> tuple[ImageRecord, str]:
    """Return an image and its key. Raises NotFoundError with what became of it."""
    for record in job.images:
        if str(record.index) == index:
            if record.key:
                return record, record.key
            raise NotFoundError(_missing(record))
    if not job.images:
        raise NotFoundError(f"The job has no images: it is {job.status}.")
    raise NotFoundError(f"The job has no such image: its images are 0 to {len(job.images) - 1}.")


def _missing(record: ImageRecord) -> str:
    if record.removed_for_safety:
        return "The image was removed for safety."
    if record.error:
        return f"The image was not generated: {record.error.message}"
    return "The image could not be stored."
