"""The use case of a reproduction: a job's request again, with its seeds and its upstream."""

from dataclasses import dataclass

from sd3.domain.client import CacheControl, RequestContext
from sd3.domain.image import Image
from sd3.domain.job import Job, JobStatus, Reproduction
from sd3.domain.request import GenerateRequest
from sd3.domain.request_checks import INIT_IMAGES
from sd3.domain.stored_request import is_known
from sd3.errors import (
    GoneError,
    IdempotencyMismatchError,
    InvalidRequestError,
    NotFoundError,
    NotReproducibleError,
    RequestError,
)
from sd3.responses.models import JobResponse
from sd3.services.jobs import JobService
from sd3.services.ports import Clock, ImageStorage, JobRepository


@dataclass(frozen=True, kw_only=True)
class JobReproduction:
    """Makes a new job of an old one, with everything that decides about its images."""

    service: JobService
    jobs: JobRepository
    images: ImageStorage
    clock: Clock

    def reproduce(self, job_id: str, context: RequestContext) -> JobResponse:
        """Generate the images of a client's job again, as a new job of the same client.

        Raises NotFoundError, GoneError, NotReproducibleError, and what JobService.generate does.
        """
        try:
            source = self.jobs.get(job_id, client_id=context.client_id, now=self.clock.now())
            reproduction = _reproduction_of(source)
            request = self._request_of(source, max_images=context.limits.max_images)
        except RequestError:
            # An earlier call may have made the job while all of this was still there.
            earlier = self._earlier(job_id, context)
            if earlier is None:
                raise
            return self.service.to_response(earlier)
        context = context._replace(
            reproduction=reproduction,
            scaled_size=source.scaled_size,
            # Copies of the same images would show nothing.
            cache=CacheControl(reads=False, stores=context.cache.stores),
        )
        response = self.service.generate(request, context)
        if response.reproduced_from != job_id:
            raise IdempotencyMismatchError("This Idempotency-Key was used with another request.")
        return response

    def _request_of(self, source: Job, *, max_images: int | None) -> GenerateRequest:
        """Return a job's request with its seeds and its init image, if it is still accepted.

        Raises NotReproducibleError and StorageError.
        """
        if not is_known(source.request):
            raise NotReproducibleError(
                "The job's request has values that only a later version knows."
            )
        # The job has a copy of its init image, whatever became of the upload.
        asked = source.request.model_dump(exclude_unset=True, exclude={*INIT_IMAGES})
        known = {name: asked[name] for name in asked.keys() & GenerateRequest.model_fields.keys()}
        try:
            request = GenerateRequest.from_values(
                known | {"seed": list(source.seeds)}, max_images=max_images
            )
        except InvalidRequestError as error:
            msg = "; ".join(f"{one.loc[-1]}: {one.msg}" for one in error.field_errors)
            raise NotReproducibleError(
                f"The job's request is not accepted any more: {msg}."
            ) from error
        return request.model_copy(update={"init_image": self._init_image_of(source)})

    def _init_image_of(self, source: Job) -> Image | None:
        if source.init_image_key is None:
            return None
        try:
            return self.images.get_init_image(source.init_image_key)
        except InvalidRequestError as error:
            raise NotReproducibleError(error.message) from error

    def _earlier(self, job_id: str, context: RequestContext) -> Job | None:
        """Find the reproduction of a job that an earlier call with the same key has made."""
        key, client_id, now = context.idempotency_key, context.client_id, self.clock.now()
        record = key and self.jobs.find_idempotency_record(client_id, key, now=now)
        if not record:
            return None
        try:
            found = self.jobs.get(record.job_id, client_id=client_id, now=now)
        except (GoneError, NotFoundError):
            return None
        is_of_it = found.reproduction is not None and found.reproduction.job_id == job_id
        return found if is_of_it else None


def _reproduction_of(source: Job) -> Reproduction:
    """Return who is to generate a job's images again. Raises NotReproducibleError."""
    if source.status is not JobStatus.SUCCEEDED:
        raise NotReproducibleError(f"The job has no images: it is {source.status}.")
    drawn_by = {(record.upstream, record.model) for record in source.images if record.key}
    if len(drawn_by) != 1:
        raise NotReproducibleError("The job's images are of several upstreams or models.")
    ((upstream, model),) = drawn_by
    if upstream is None:
        raise NotReproducibleError("It is not known which upstream generated the job's images.")
    return Reproduction(job_id=source.id, upstream=upstream, model=model)
