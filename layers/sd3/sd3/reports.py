"""What is told of a job where no link can be signed: in events and in the inbox's answers."""

from datetime import datetime

from pydantic import BaseModel

from sd3.models import ImageRecord, Job, JobError, JobStatus


class ImageReport(BaseModel):
    """A picture and where it is kept; `url` is its `s3://` address, which never ends."""

    index: int
    seed: int
    removed_for_safety: bool
    safety_score: float | None
    bucket: str | None
    key: str | None
    url: str | None
    content_type: str | None
    width: int | None
    height: int | None
    bytes: int | None
    sha256: str | None
    upstream: str | None
    error: JobError | None


class JobReport(BaseModel):
    """A job as its client sees it, without its prompt and without links."""

    id: str
    client_id: str
    status: JobStatus
    created_at: datetime
    completed_at: datetime | None = None
    images: list[ImageReport] = []
    prediction_time_ms: float = 0
    cost_usd: float = 0
    upstream: str | None = None
    ignored: list[str] = []
    metadata: dict[str, str]
    error: JobError | None = None


def job_report(job: Job, *, bucket: str) -> JobReport:
    """Report a job whose pictures are in `bucket`."""
    return JobReport(
        id=job.id,
        client_id=job.client_id,
        status=job.status,
        created_at=job.created_at,
        completed_at=job.completed_at,
        images=[_image_report(record, bucket) for record in job.images],
        prediction_time_ms=job.prediction_time_ms,
        cost_usd=job.cost_micros / 1_000_000,
        upstream=job.upstream,
        ignored=list(job.ignored),
        metadata=job.request.metadata,
        error=job.error,
    )


def _image_report(record: ImageRecord, bucket: str) -> ImageReport:
    kept = record.key is not None
    return ImageReport(
        **record.model_dump(),
        bucket=bucket if kept else None,
        url=f"s3://{bucket}/{record.key}" if kept else None,
    )
