"""The largest responses: what Lambda returns of a function has to fit 6 MB."""

import json
from datetime import datetime, timedelta
from typing import Final

import pytest

from sd3.domain.image import Link
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.job_list import JobPage
from sd3.domain.request import GenerateRequest
from sd3.domain.request_checks import MAX_IMAGES
from sd3.responses.pagination import position_in
from sd3.responses.render import MAX_INLINE_BYTES, fitting, job_list_response, job_response
from tests.support.fakes.ports import NOON

LAMBDA_BYTES: Final = 6_291_556

TOKEN: Final = "x" * 1700
"""As long as the session token of a function's role, which each link has."""

TEXTS: Final = {"ASCII": "x", "Chinese": "狐", "quotes": '"', "control characters": "\0"}


def job(number: int, character: str) -> Job:
    """Make a job with all that a response can show of one."""
    job_id = f"{number:03}{'x' * 125}"
    metadata = {f"{at:02}{character * 62}": character * 512 for at in range(16)}
    return Job(
        id=job_id,
        client_id="ann",
        status=JobStatus.SUCCEEDED,
        created_at=NOON - timedelta(seconds=number),
        completed_at=NOON,
        expires_at=NOON + timedelta(days=1),
        request=GenerateRequest(prompt="a fox", num_images=MAX_IMAGES, metadata=metadata),
        seeds=(4_294_967_295,) * MAX_IMAGES,
        images=tuple(
            ImageRecord(
                index=index,
                seed=4_294_967_295,
                key=f"{'a' * 63}/{job_id}/{index}.jpg",
                upstream="stability",
                content_type="image/jpeg",
                width=1536,
                height=1536,
                bytes=9_999_999,
                sha256="f" * 64,
                thumbhash="f" * 36,
            )
            for index in range(MAX_IMAGES)
        ),
    )


def sign(key: str, until: datetime) -> Link:
    url = f"https://{'b' * 63}.s3.ap-southeast-1.amazonaws.com/{key}?X-Amz-Security-Token={TOKEN}"
    return Link(f"{url}&X-Amz-Credential={'c' * 64}&X-Amz-Signature={'f' * 64}", min(until, NOON))


def lambda_bytes(body: str) -> int:
    """Count the bytes of a function's response, as the runtime of Python 3.13 writes it."""
    response = {"statusCode": 200, "multiValueHeaders": {"ETag": ["x" * 500]}, "body": body}
    return len(json.dumps(response, ensure_ascii=False).encode())


@pytest.mark.parametrize("character", TEXTS.values(), ids=TEXTS)
def test_no_page_is_too_large_and_the_cursors_lead_to_every_job(character: str) -> None:
    jobs = tuple(job(number, character) for number in range(100))
    seen: list[str] = []
    left = jobs
    while left:
        response = job_list_response(JobPage(left, None), sign, client_id="ann")
        assert lambda_bytes(response.model_dump_json()) < LAMBDA_BYTES
        seen += [one.id for one in response.jobs]
        position = position_in(response.next_cursor, client_id="ann")
        left = tuple(
            one for one in jobs if position and (one.created_at.isoformat(), one.id) < position
        )
    assert seen == [one.id for one in jobs]


def test_a_page_that_fits_is_whole() -> None:
    looked_at = (NOON.isoformat(), "last")
    page = JobPage(tuple(job(number, "x") for number in range(20)), looked_at)
    response = job_list_response(page, sign, client_id="ann")
    assert len(response.jobs) == 20
    assert position_in(response.next_cursor, client_id="ann") == looked_at


@pytest.mark.parametrize("character", TEXTS.values(), ids=TEXTS)
def test_images_in_a_response_leave_room_for_all_the_rest(character: str) -> None:
    sizes = dict.fromkeys(range(MAX_IMAGES), MAX_INLINE_BYTES // MAX_IMAGES // 4 * 3)
    assert fitting(sizes) == tuple(sizes)
    inline = {index: bytes(size) for index, size in sizes.items()}
    response = job_response(job(0, character), sign, inline=inline)
    assert MAX_INLINE_BYTES < lambda_bytes(response.model_dump_json()) < LAMBDA_BYTES
