"""The use case of the inbox: a dropped file becomes a job or a batch, and gets a result file."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sd3.domain.client import GENERATE, Client, ClientLimits, RequestContext, require
from sd3.domain.inbox import (
    BATCH_EXTENSION,
    IMAGE_EXTENSIONS,
    MAX_IMAGE_BYTES,
    MAX_JSON_BYTES,
    InboxObject,
    InboxOrigin,
    InboxRequest,
    extension_of,
    field_error,
    request_from,
    result_key,
)
from sd3.domain.job import JobStatus
from sd3.domain.request import MAX_BATCH_BYTES, GenerateRequest
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

if TYPE_CHECKING:
    from sd3.services.batches import BatchService


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Creates jobs of files `{client}/{name}.json` and of images, and batches of `.jsonl`."""

    submission: JobSubmission
    clients: ClientRepository
    files: InboxFiles
    results: InboxResults
    batches: "Callable[[], BatchService]"
    """Builds the use cases of batches, which few files need."""
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
            if extension_of(upload.key) == BATCH_EXTENSION:
                self._receive_batch(upload, origin, client)
                return None
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

    def _receive_batch(self, upload: InboxObject, origin: InboxOrigin, client: Client) -> None:
        """Accept the batch of a file, once. Raises RequestError and StorageError."""
        from sd3.domain.batch import NewBatch  # noqa: PLC0415 - as above
        from sd3.responses.batches import batch_event  # noqa: PLC0415 - few files are batches

        def store(key: str) -> None:
            if not self.files.copy(upload, self.images_bucket, key, max_bytes=MAX_BATCH_BYTES):
                raise GoneError("The file was replaced. The new file has its own event.")

        new = NewBatch(
            client_id=client.client_id,
            store=store,
            fingerprint=upload.job_id,
            key=f"inbox\n{upload.job_id}",  # which no client can send as its own
            limits=client.limits,
            inbox=origin,
        )
        with suppress(GoneError):  # also if the batch has expired before this repeated event
            batch = self.batches().accept(new)
            event = batch_event(batch, bucket=self.images_bucket)
            self.results.write(origin, event.model_dump_json(), first=True)

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
        extension = extension_of(upload.key)
        if extension == "json":
            file = self.files.read(upload, max_bytes=MAX_JSON_BYTES)
            return file and InboxRequest(GenerateRequest.parse(file.data, max_images=max_images))
        if extension in IMAGE_EXTENSIONS:
            file = self.files.read(upload, max_bytes=MAX_IMAGE_BYTES)
            return file and request_from(file, max_images=max_images)
        extensions = ", ".join(sorted(("json", BATCH_EXTENSION, *IMAGE_EXTENSIONS)))
        raise UnsupportedMediaTypeError(f"The file's name should end in one of {extensions}.")
