"""From a job to what its client reads, with links that are signed when it asks."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from sd3.domain.billing import MICROS, NOTHING, Booking, UsedDay, day_of, left_of, next_day
from sd3.domain.client import Limits
from sd3.domain.generation import DrawnPicture
from sd3.domain.image import Link, encode_base64
from sd3.domain.job import ImageRecord, Job
from sd3.errors import InvalidRequestError, Sd3Error
from sd3.responses.models import (
    DayAnswer,
    ErrorAnswer,
    FaultAnswer,
    ImageAnswer,
    ImageReport,
    JobAnswer,
    JobReport,
    PastAnswer,
    TodayAnswer,
    UsageAnswer,
)


def usage_answer(
    client_id: str, days: Sequence[UsedDay], *, limits: Limits, now: datetime
) -> UsageAnswer:
    """What a client has used on these days, newest first, and may still use."""
    date = day_of(now)
    booked = dict(days)
    today, total = booked.get(date, NOTHING), reduce(Booking.__add__, booked.values(), NOTHING)
    return UsageAnswer(
        client_id=client_id,
        today=TodayAnswer(
            **_told(date, today),
            budget_usd=in_dollars(limits.daily_budget_micros),
            left_usd=in_dollars(left_of(limits, today)),
            resets_at=next_day(now.astimezone(UTC)),
        ),
        last_30_days=PastAnswer(
            pictures=total.pictures,
            cost_usd=total.spent / MICROS,
            days=[DayAnswer(**_told(day, booking)) for day, booking in days],
        ),
    )


def in_dollars(micros: int | None) -> float | None:
    """Micro-dollars as the number of dollars that an answer has."""
    return None if micros is None else micros / MICROS


def _told(date: str, booking: Booking) -> dict[str, object]:
    return {
        "date": date,
        "pictures": booking.pictures,
        "cost_usd": booking.spent / MICROS,
        "reserved_usd": booking.reserved / MICROS,
    }


ANSWER_BYTES: Final = 4_500_000
"""Base64 that an answer may hold: Lambda's answers end at 6 MB, links and the rest included."""


Sign = Callable[[str], Link]
"""From an image's key to a link to it."""


def job_answer(job: Job, sign: Sign, *, drawn: Sequence[DrawnPicture] = ()) -> JobAnswer:
    """The job as its client sees it; `drawn` has the pictures that can be inlined."""
    inline = inline_base64(drawn) if job.request.response_format == "b64_json" else {}
    return JobAnswer(
        id=job.id,
        status=job.status,
        created_at=job.created_at,
        completed_at=job.completed_at,
        images=[
            _image_answer(record, sign, inline=inline.get(record.index)) for record in job.images
        ],
        prediction_time_ms=job.prediction_time_ms,
        cost_usd=job.cost_micros / 1_000_000,
        upstream=job.upstream,
        ignored=list(job.ignored),
        metadata=job.request.metadata,
        error=job.error,
    )


def _image_answer(record: ImageRecord, sign: Sign, *, inline: str | None) -> ImageAnswer:
    link = sign(record.key) if record.key else None
    return ImageAnswer(
        **record.model_dump(exclude={"key"}),
        image_b64=inline,
        url=link and link.url,
        expires_at=link and link.expires_at,
    )


def error_answer(error: Sd3Error, *, request_id: str) -> ErrorAnswer:
    """An error in the one shape that is documented."""
    faults = error.faults if isinstance(error, InvalidRequestError) else None
    return ErrorAnswer(
        code=error.code,
        message=error.message,
        request_id=request_id,
        job_id=error.job_id,
        detail=faults and [FaultAnswer(loc=list(f.loc), msg=f.msg, type=f.type) for f in faults],
    )


def inline_base64(drawn: Sequence[DrawnPicture]) -> dict[int, str]:
    """Base64 by index of the first pictures that fit an answer together."""
    inline: dict[int, str] = {}
    room = ANSWER_BYTES
    for index, one in enumerate(drawn):
        if one.picture is None:
            continue
        room -= (len(one.picture.data) + 2) // 3 * 4
        if room < 0:
            break
        inline[index] = encode_base64(one.picture.data)
    return inline


def entity_tag(job: Job, *, now: datetime, url_ttl_seconds: int) -> str:
    """Changes whenever the job does, and while it has links, twice in the life of a link."""
    turn = int(now.timestamp()) // max(url_ttl_seconds // 2, 1) if job.images else 0
    state = f"{job.status}-{job.attempt}-{job.completed_at}-{job.cost_micros}-{turn}"
    return f'W/"{hashlib.sha256(state.encode()).hexdigest()[:16]}"'


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
