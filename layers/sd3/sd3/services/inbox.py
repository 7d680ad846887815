"""The use case of the inbox: a dropped file becomes a job and gets a result file."""

from dataclasses import dataclass

from sd3.domain.client import GENERATE, Client, ClientLimits, RequestContext, require
from sd3.domain.inbox import (
    IMAGE_EXTENSIONS,
    MAX_IMAGE_BYTES,
    MAX_JSON_BYTES,
    InboxObject,
    InboxOrigin,
    InboxRequest,
    field_error,
    request_from,
    result_key,
)
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    GoneError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    UnsupportedMediaTypeError,
)
from sd3.responses.models import JobEvent
from sd3.responses.render import error_body
from sd3.services.ports import ClientRepository, InboxFiles, InboxResults
from sd3.services.submission import JobSubmission


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Creates jobs from files `{client}/{name}.json`, and from images with metadata."""

    submission: JobSubmission
    clients: ClientRepository
    files: InboxFiles
    results: InboxResults
    images_bucket: str

    def receive(self, upload: InboxObject, *, seconds: float) -> RequestError | None:
        """Queue the job of a file. For a bad file, write the error as its result and return it.

        The first result is written before the job, so that it never replaces the result of the
        job's end. A repeated event of the same upload is the same job, even if the first event was
        handled only in part. Raises StorageError, and ValueError for a file of the images bucket:
        if results were read as requests, each would lead to the next one.
        """
        if upload.bucket == self.images_bucket:
            raise ValueError("The event is of the images bucket, which is no inbox.")
        if upload.key.endswith("/"):
            return None  # consoles create such a key for an empty folder
        origin = InboxOrigin(result_key=result_key(upload), sequencer=upload.sequencer)
        try:
            client = self._client(upload.client_id)
            read = self._request(upload, client.limits)
        except RequestError as error:
            return self._reject(upload, origin, error, first=True)
        if read is None:
            return None
        request, ignored = read
        origin = origin.model_copy(update={"ignored_metadata": ignored})
        self._write_queued(upload, origin, client.client_id, request)
        context = RequestContext(
            client.client_id,
            upload.job_id,
            seconds,
            respond_async=True,
            inbox=origin,
            limits=client.limits,
        )
        try:
            self.submission.submit(request, context)
        except (GoneError, NotFoundError):
            pass  # the job ended and was deleted before this repeated event
        except RequestError as error:
            return self._reject(upload, origin, error, first=False)
        return None

    def _write_queued(
        self, upload: InboxObject, origin: InboxOrigin, client_id: str, request: GenerateRequest
    ) -> None:
        queued = JobEvent(
            id=upload.job_id,
            client_id=client_id,
            status=JobStatus.QUEUED,
            created_at=self.submission.clock.now(),
            ignored=list(origin.ignored_metadata),
            metadata=request.metadata,
        )
        self.results.write(origin, queued.model_dump_json(), first=True)

    def _reject(
        self, upload: InboxObject, origin: InboxOrigin, error: RequestError, *, first: bool
    ) -> RequestError:
        response = error_body(error, request_id=upload.job_id)
        self.results.write(origin, response.model_dump_json(exclude_none=True), first=first)
        return error

    def _client(self, client_id: str | None) -> Client:
        client = self.clients.get(client_id) if client_id else None
        if client is None:
            raise NotFoundError("The file's folder has no client's name.")
        require(GENERATE, client.scopes)
        return client

    def _request(self, upload: InboxObject, limits: ClientLimits) -> InboxRequest | None:
        read = self._read(upload, limits.max_images)
        for name in ("dry_run", "init_image_url"):
            if read and getattr(read.request, name):
                raise InvalidRequestError([field_error(name, "is for HTTP only", name)])
        return read

    def _read(self, upload: InboxObject, max_images: int | None) -> InboxRequest | None:
        extension = upload.key.rpartition(".")[2].lower()
        if extension == "json":
            file = self.files.read(upload, max_bytes=MAX_JSON_BYTES)
            return file and InboxRequest(GenerateRequest.parse(file.data, max_images=max_images))
        if extension in IMAGE_EXTENSIONS:
            file = self.files.read(upload, max_bytes=MAX_IMAGE_BYTES)
            return file and request_from(file, max_images=max_images)
        extensions = ", ".join(sorted(("json", *IMAGE_EXTENSIONS)))
        raise UnsupportedMediaTypeError(f"The file's name should end in one of {extensions}.")
