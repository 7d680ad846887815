"""The use cases of clients on batches: send, read, list and cancel them, and fetch results."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sd3.domain.batch import (
    MAX_OPEN,
    Batch,
    BatchCounts,
    BatchKey,
    BatchStep,
    BatchTask,
    NewBatch,
    new_batch_id,
)
from sd3.domain.batch_request import BatchRequest
from sd3.errors import (
    BatchPendingError,
    ChangedError,
    FieldError,
    IdempotencyMismatchError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    StorageBusyError,
    TooLargeError,
)
from sd3.responses.batches import (
    BatchListResponse,
    BatchResponse,
    ResultsLinkResponse,
    batch_list_response,
    batch_response,
)
from sd3.services.ports import (
    BatchQueue,
    BatchRepository,
    BatchStorage,
    ClientCounts,
    Clock,
    ImageStorage,
)

_TRIES: Final = 5
_OPEN_RETRY_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True)
class BatchService:
    """The operations of clients on batches."""

    batches: BatchRepository
    files: BatchStorage
    images: ImageStorage
    queue: BatchQueue
    counts: ClientCounts
    clock: Clock
    retention: timedelta

    def accept(self, new: NewBatch) -> Batch:
        """Store a batch whose lines are read later, or find the one that has its key.

        The message is sent before the batch is written, so that a batch that is there is worked
        on. Raises IdempotencyMismatchError, RateLimitedError for one request or one open batch too
        many, what `new.store` raises, and StorageError.
        """
        now = self.clock.now()
        found = self.batches.find_key(new.client_id, new.key, now=now) if new.key else None
        if found:
            return self._same(new, found, now=now)
        if self.batches.count_open(new.client_id) >= MAX_OPEN:
            msg = f"Only {MAX_OPEN} batches of a client are open at the same time."
            raise RateLimitedError(msg, retry_after=_OPEN_RETRY_SECONDS)
        self.counts.count_batch(new.client_id, new.limits, now=now)
        batch = self._new(new, now=now)
        new.store(batch.file_key)
        self.queue.send(BatchTask(batch.client_id, batch.id, BatchStep.SPLIT))
        found = self.batches.create(batch, new.key, fingerprint=new.fingerprint)
        return self._same(new, found, now=now) if found else batch

    def store_of(self, asked: BatchRequest, *, client_id: str) -> Callable[[str], None]:
        """Return what stores the lines of a request, which it holds or has sent by an upload.

        It raises InvalidRequestError for an upload that cannot be used.
        """

        def store(key: str) -> None:
            if asked.upload_id is None:
                self.files.put(key, asked.to_jsonl())
                return
            try:
                self.files.copy_upload(client_id, asked.upload_id, key, now=self.clock.now())
            except (NotFoundError, TooLargeError) as error:
                field_error = FieldError(("body", "upload_id"), error.message, "upload")
                raise InvalidRequestError([field_error]) from error

        return store

    def get(self, client_id: str, batch_id: str) -> BatchResponse:
        """Read a batch, with the counts as they are now. Raises NotFoundError, GoneError."""
        return self.to_response(self.batches.get(client_id, batch_id, now=self.clock.now()))

    def to_response(self, batch: Batch) -> BatchResponse:
        """Render a batch with the counts as they are now. Raises StorageError."""
        counts = batch.counts
        if batch.is_split and not batch.status.is_terminal:
            parts = self.batches.parts(batch.client_id, batch.id)
            counts = sum((part.counts for part in parts), BatchCounts())
        return batch_response(batch, counts)

    def list(self, client_id: str, *, limit: int, cursor: str | None) -> BatchListResponse:
        """Read a page of a client's batches, newest first. Raises StorageError."""
        page, following = self.batches.page(
            client_id, limit=limit, cursor=cursor, now=self.clock.now()
        )
        return batch_list_response([self.to_response(batch) for batch in page], following)

    def results(self, client_id: str, batch_id: str) -> ResultsLinkResponse:
        """Sign a link to the results. Raises BatchPendingError while there are none."""
        now = self.clock.now()
        batch = self.batches.get(client_id, batch_id, now=now)
        if not batch.status.is_terminal:
            raise BatchPendingError(f"The batch has no results yet: it is {batch.status}.")
        if batch.error:
            raise NotFoundError("The batch has no results: it has failed as a whole.")
        link = self.images.sign(batch.results_key, until=batch.expires_at, now=now)
        return ResultsLinkResponse(url=link.url, expires_at=link.expires_at)

    def cancel(self, client_id: str, batch_id: str) -> BatchResponse:
        """Cancel the lines that have not ended. Images of others stay, and are in the results.

        Raises NotFoundError, GoneError, NotCancelableError and StorageError.
        """
        for _ in range(_TRIES):
            batch = self.batches.get(client_id, batch_id, now=self.clock.now())
            try:
                canceled = self.batches.save(batch.cancel())
            except ChangedError:
                continue
            self.queue.send(BatchTask(client_id, batch_id, BatchStep.CANCEL))
            return self.to_response(canceled)
        raise StorageBusyError("The batch could not be canceled: it changes too fast.")

    def _new(self, new: NewBatch, *, now: datetime) -> Batch:
        return Batch(
            id=new_batch_id(now),
            client_id=new.client_id,
            client_name=new.client_name,
            created_at=now,
            expires_at=now + self.retention,
            limits=new.limits.to_context(),
            metadata=dict(new.metadata),
            inbox=new.inbox,
        )

    def _same(self, new: NewBatch, found: BatchKey, *, now: datetime) -> Batch:
        if found.fingerprint != new.fingerprint:
            raise IdempotencyMismatchError("This Idempotency-Key was used with another request.")
        return self.batches.get(new.client_id, found.batch_id, now=now)
