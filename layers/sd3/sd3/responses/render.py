"""Renders what clients read: from domain objects to the models of this room.

Links are signed at the moment of the response.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from types import MappingProxyType
from typing import Final

from sd3.domain.billing import (
    MICROS_PER_DOLLAR,
    NO_USAGE,
    DailyUsage,
    UsageEntry,
    day_of,
    left_of,
    next_day,
)
from sd3.domain.client import ClientLimits
from sd3.domain.image import Link, encode_base64
from sd3.domain.job import ImageRecord, Job
from sd3.domain.job_list import JobPage
from sd3.domain.progress import NOTHING_KNOWN, JobProgress
from sd3.errors import InvalidRequestError, Sd3Error
from sd3.responses.models import (
    DayUsage,
    ErrorBody,
    FieldErrorBody,
    ImageResponse,
    ImagesDoneBody,
    JobErrorBody,
    JobEvent,
    JobEventImage,
    JobListResponse,
    JobResponse,
    PastUsage,
    TodayUsage,
    UsageResponse,
)
from sd3.responses.pagination import cursor_from


def usage_response(
    client_id: str, days: Sequence[DailyUsage], *, limits: ClientLimits, now: datetime
) -> UsageResponse:
    """Render what a client has used on these days, newest first, and may still use."""
    date = day_of(now)
    recorded = dict(days)
    today = recorded.get(date, NO_USAGE)
    total = reduce(UsageEntry.__add__, recorded.values(), NO_USAGE)
    return UsageResponse(
        client_id=client_id,
        today=TodayUsage(
            **_day_fields(date, today),
            budget_usd=in_dollars(limits.daily_budget_micros),
            left_usd=in_dollars(left_of(limits, today)),
            resets_at=next_day(now.astimezone(UTC)),
        ),
        last_30_days=PastUsage(
            pictures=total.images,
            cost_usd=total.spent / MICROS_PER_DOLLAR,
            days=[DayUsage(**_day_fields(day, usage)) for day, usage in days],
        ),
    )


def in_dollars(micros: int | None) -> float | None:
    """Convert micro-dollars to the number of dollars that responses have."""
    return None if micros is None else micros / MICROS_PER_DOLLAR


def _day_fields(date: str, usage: UsageEntry) -> dict[str, object]:
    return {
        "date": date,
        "pictures": usage.images,
        "cost_usd": usage.spent / MICROS_PER_DOLLAR,
        "reserved_usd": usage.reserved / MICROS_PER_DOLLAR,
    }


MAX_INLINE_BYTES: Final = 4_500_000
"""Base64 that a response may hold. Lambda's responses end at 6 MB, with links and the rest."""

MAX_PAGE_BYTES: Final = 4_000_000
"""The jobs that a page may hold, as JSON. Lambda counts a quote or a line break of it twice: that
is 2 MB more, if the metadata of all jobs have nothing else."""


_IMAGE_FIELDS: Final = set(ImageRecord.model_fields)
"""Those of this version: a stored record can have others, which clients do not get."""

Sign = Callable[[str, datetime], Link]
"""Signs a link to the image of a key, which ends at a time at the latest."""


def job_response(
    job: Job,
    sign: Sign,
    *,
    inline: Mapping[int, bytes] = MappingProxyType({}),
    progress: JobProgress = NOTHING_KNOWN,
) -> JobResponse:
    """Render a job; `inline` has the images that it holds as base64, by index."""
    reused, eta, images = job.reused_from, progress.eta_seconds, progress.images
    return JobResponse(
        id=job.id,
        status=job.status,
        created_at=job.created_at,
        completed_at=job.completed_at,
        expires_at=job.expires_at,
        images=[
            _image_response(record, sign, until=job.expires_at, data=inline.get(record.index))
            for record in job.images
        ],
        prediction_time_ms=job.prediction_time_ms,
        cost_usd=job.cost_micros / MICROS_PER_DOLLAR,
        upstream=job.upstream,
        ignored=list(job.ignored),
        metadata=job.request.metadata,
        reproduced_from=job.reproduction.job_id if job.reproduction else None,
        error=_error_of(job),
        reused_from=reused and reused.job_id,
        queue_position=progress.queue_position,
        eta_seconds=None if eta is None else round(eta, 1),
        progress=images and ImagesDoneBody(done=images.done, of=images.of),
        cancel_at=None if job.status.is_terminal else job.cancel_at,
        reused_at=reused and reused.completed_at,
    )


def job_list_response(page: JobPage, sign: Sign, *, client_id: str) -> JobListResponse:
    """Render a page, or as many of its first jobs as fit; the cursor leads to all the others."""
    jobs: list[JobResponse] = []
    room = MAX_PAGE_BYTES
    for job in page.jobs:
        response = job_response(job, sign)
        room -= len(response.model_dump_json().encode())
        if jobs and room < 0:
            break
        jobs.append(response)
    position = page.first(len(jobs)).next_position
    return JobListResponse(jobs=jobs, next_cursor=cursor_from(position, client_id=client_id))


def _error_of(job: Job) -> JobErrorBody | None:
    if job.error is None:
        return None
    return JobErrorBody(code=job.error.code, message=job.error.message)


def _image_response(
    record: ImageRecord, sign: Sign, *, until: datetime, data: bytes | None
) -> ImageResponse:
    link = sign(record.key, until) if record.key else None
    return ImageResponse(
        **record.model_dump(include=_IMAGE_FIELDS - {"key"}),
        image_b64=None if data is None else encode_base64(data),
        url=link and link.url,
        expires_at=link and link.expires_at,
    )


def error_body(error: Sd3Error, *, request_id: str) -> ErrorBody:
    """Render an error in the one shape that is documented."""
    field_errors = error.field_errors if isinstance(error, InvalidRequestError) else None
    return ErrorBody(
        code=error.code,
        message=error.message,
        request_id=request_id,
        job_id=error.job_id,
        detail=field_errors
        and [FieldErrorBody(loc=list(f.loc), msg=f.msg, type=f.type) for f in field_errors],
    )


def fitting(sizes: Mapping[int, int]) -> tuple[int, ...]:
    """Choose the first images whose base64 fits a response together; `sizes` has bytes by index."""
    chosen: list[int] = []
    room = MAX_INLINE_BYTES
    for index, size in sizes.items():
        room -= (size + 2) // 3 * 4
        if room < 0:
            break
        chosen.append(index)
    return tuple(chosen)


def entity_tag(job: Job, *, now: datetime, url_ttl_seconds: int) -> str:
    """Make the ETag of a job's response.

    It changes with the job and, since links expire, twice in the life of a link.
    """
    period = int(now.timestamp()) // max(url_ttl_seconds // 2, 1) if job.images else 0
    state = f"{job.status}-{job.attempt}-{job.completed_at}-{job.cost_micros}-{period}"
    return f'W/"{hashlib.sha256(state.encode()).hexdigest()[:16]}"'


def job_event(job: Job, *, bucket: str) -> JobEvent:
    """Render a job whose images are in `bucket`, for EventBridge and inbox results.

    Metadata of a file that are no part of its request are ignored, as fields can be.
    """
    ignored_metadata = job.inbox.ignored_metadata if job.inbox else ()
    return JobEvent(
        id=job.id,
        client_id=job.client_id,
        status=job.status,
        created_at=job.created_at,
        completed_at=job.completed_at,
        images=[_event_image(record, bucket) for record in job.images],
        prediction_time_ms=job.prediction_time_ms,
        cost_usd=job.cost_micros / MICROS_PER_DOLLAR,
        upstream=job.upstream,
        ignored=[*job.ignored, *ignored_metadata],
        metadata=job.request.metadata,
        error=_error_of(job),
        reused_from=job.reused_from and job.reused_from.job_id,
    )


def _event_image(record: ImageRecord, bucket: str) -> JobEventImage:
    is_stored = record.key is not None
    return JobEventImage(
        **record.model_dump(include=_IMAGE_FIELDS),
        bucket=bucket if is_stored else None,
        url=f"s3://{bucket}/{record.key}" if is_stored else None,
    )
