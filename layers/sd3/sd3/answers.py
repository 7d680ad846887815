"""What a client is told of its jobs, with links that are signed when it asks."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pydantic_core

from sd3.errors import Fault, InvalidRequestError, Sd3Error
from sd3.images import encode_base64
from sd3.models import (
    JOB_ID,
    DrawnPicture,
    ErrorAnswer,
    FaultAnswer,
    ImageAnswer,
    ImageRecord,
    Job,
    JobAnswer,
)
from sd3.ports import Images

ANSWER_BYTES: Final = 4_500_000
"""Base64 that an answer may hold: Lambda's answers end at 6 MB, links and the rest included."""

Position = tuple[str, str]


def job_answer(
    job: Job, images: Images, *, now: datetime, drawn: Sequence[DrawnPicture] = ()
) -> JobAnswer:
    """The job as its client sees it; `drawn` has the pictures that can be inlined."""
    inline = inline_base64(drawn) if job.request.response_format == "b64_json" else {}
    return JobAnswer(
        id=job.id,
        status=job.status,
        created_at=job.created_at,
        completed_at=job.completed_at,
        images=[
            _image_answer(record, images, now=now, inline=inline.get(record.index))
            for record in job.images
        ],
        prediction_time_ms=job.prediction_time_ms,
        cost_usd=job.cost_micros / 1_000_000,
        upstream=job.upstream,
        ignored=list(job.ignored),
        metadata=job.request.metadata,
        error=job.error,
    )


def _image_answer(
    record: ImageRecord, images: Images, *, now: datetime, inline: str | None
) -> ImageAnswer:
    link = images.sign(record.key, now=now) if record.key else None
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


def cursor_from(position: Position | None, *, client_id: str) -> str | None:
    """The next page's address, which says nothing to another client."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(pydantic_core.to_json([_mark(client_id), *position])).decode()


def position_in(cursor: str | None, *, client_id: str) -> Position | None:
    """Where a cursor points to; InvalidRequestError for one that is not this client's."""
    if cursor is None:
        return None
    fault = Fault(("query", "cursor"), "not a cursor of this list", "cursor")
    try:
        values = pydantic_core.from_json(base64.b64decode(cursor.encode(), b"-_", validate=True))
    except ValueError as error:
        raise InvalidRequestError([fault]) from error
    match values:
        case [mark, str(created_at), str(job_id)] if mark == _mark(client_id):
            if _is_time(created_at) and JOB_ID.fullmatch(job_id):
                return created_at, job_id
    raise InvalidRequestError([fault])


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _mark(client_id: str) -> str:
    return hashlib.sha256(client_id.encode()).hexdigest()[:12]
