"""What clients read of batches: the batch, a page of them, a line of the results, and the event."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from sd3.domain.batch import Batch, BatchCounts, BatchStatus, RefusedLine
from sd3.domain.billing import MICROS_PER_DOLLAR
from sd3.domain.job import Job
from sd3.responses.models import FieldErrorBody, JobErrorBody, JobEvent, Time
from sd3.responses.render import job_event


class RequestCounts(BaseModel):
    """The lines of a batch."""

    total: int = Field(description="All lines; 0 until the file is read.")
    completed: int = Field(description="Lines with at least one image.")
    failed: int = Field(description="Lines that were refused, failed or were canceled.")


class BatchResponse(BaseModel):
    """A batch as its client sees it."""

    id: str
    status: BatchStatus
    created_at: Time
    completed_at: Time | None
    expires_at: Time = Field(description="From then on the batch and its results are gone (410).")
    request_counts: RequestCounts
    cost_usd: float = Field(description="What the lines that have ended have cost.")
    metadata: dict[str, str]
    error: JobErrorBody | None = Field(description="Why the whole batch failed.")


class BatchListResponse(BaseModel):
    """GET /batches: a page of a client's batches, newest first."""

    batches: list[BatchResponse]
    next_cursor: str | None


class ResultsLinkResponse(BaseModel):
    """GET /batches/{id}/results for clients that prefer JSON to a redirect."""

    url: str = Field(description="Where the results are; fetch them without the token.")
    expires_at: Time


class StoredFile(BaseModel):
    """Where the service has stored a file."""

    bucket: str
    key: str


class InboxFile(BaseModel):
    """The result file of a batch that came by the inbox."""

    key: str


class BatchEvent(BatchResponse):
    """A batch for EventBridge, once it has ended, and for the inbox."""

    client_id: str
    results: StoredFile | None
    inbox: InboxFile | None


class LineError(JobErrorBody):
    """Why a line has no image, in the terms of the error table."""

    detail: list[FieldErrorBody] | None = None


class LineResult(BaseModel):
    """A line of the results, in the order of the lines of the file."""

    custom_id: str | None
    line: int
    job_id: str | None
    status: str
    images: list[str]
    """The routes of the images, which lead to links."""
    response: JobEvent | None
    error: LineError | None


def batch_response(batch: Batch, counts: BatchCounts) -> BatchResponse:
    """Render a batch with the counts of its lines."""
    return BatchResponse(
        id=batch.id,
        status=batch.status,
        created_at=batch.created_at,
        completed_at=batch.completed_at,
        expires_at=batch.expires_at,
        request_counts=RequestCounts(
            total=counts.total, completed=counts.completed, failed=counts.failed
        ),
        cost_usd=counts.cost_micros / MICROS_PER_DOLLAR,
        metadata=batch.metadata,
        error=batch.error and JobErrorBody(**batch.error.model_dump(include={"code", "message"})),
    )


def batch_list_response(
    batches: Sequence[BatchResponse], next_cursor: str | None
) -> BatchListResponse:
    """Render a page."""
    return BatchListResponse(batches=list(batches), next_cursor=next_cursor)


def batch_event(batch: Batch, *, bucket: str) -> BatchEvent:
    """Render a batch for EventBridge and the inbox. After its end it has results, if any."""
    has_results = batch.status.is_terminal and batch.error is None
    return BatchEvent(
        **batch_response(batch, batch.counts).model_dump(),
        client_id=batch.client_id,
        results=StoredFile(bucket=bucket, key=batch.results_key) if has_results else None,
        inbox=batch.inbox and InboxFile(key=batch.inbox.result_key),
    )


def job_result(job: Job, line: int, *, bucket: str) -> LineResult:
    """Render the result of a line whose job has ended."""
    event = job_event(job, bucket=bucket)
    return LineResult(
        custom_id=job.batch.custom_id if job.batch else None,
        line=line,
        job_id=job.id,
        status=job.status,
        images=[f"/jobs/{job.id}/images/{each.index}" for each in event.images if each.key],
        response=event,
        error=event.error and LineError(**event.error.model_dump()),
    )


def refused_result(refused: RefusedLine) -> LineResult:
    """Render the result of a line that no job was made of."""
    detail = [FieldErrorBody(**each._asdict()) for each in refused.detail]
    return LineResult(
        custom_id=refused.custom_id,
        line=refused.line,
        job_id=None,
        status="canceled" if refused.is_canceled else "failed",
        images=[],
        response=None,
        error=LineError(code=refused.code, message=refused.message, detail=detail or None),
    )


def deleted_result(job_id: str, line: int) -> LineResult:
    """Render the result of a line whose job was deleted before the batch ended."""
    error = LineError(code="gone", message="The job was deleted.")
    return LineResult(
        custom_id=None, line=line, job_id=job_id, status="deleted", images=[], response=None,
        error=error,
    )  # fmt: skip
