"""What clients read: cursors, entity tags, and images that fit a response."""

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.errors import InvalidRequestError
from sd3.responses import models
from sd3.responses.pagination import cursor_from, position_in
from sd3.responses.render import (
    MAX_INLINE_BYTES,
    entity_tag,
    fitting,
    job_event,
    job_response,
)
from tests.support.fakes.ports import NOON, FakeImages

POSITION = (NOON.isoformat(), "job-1")


def job(**changes: Any) -> Job:
    return Job.model_validate(
        {
            "id": "job-1",
            "client_id": "ann",
            "status": JobStatus.RUNNING,
            "created_at": NOON,
            "expires_at": NOON + timedelta(days=1),
            "request": {"prompt": "a fox"},
            "seeds": (1,),
            "attempt": 1,
        }
        | changes
    )


def tag(of: Job, *, at: float = 0) -> str:
    return entity_tag(of, now=NOON + timedelta(seconds=at), url_ttl_seconds=3600)


def forged(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def mark(client_id: str) -> str:
    """Return the public start of a client's cursors."""
    cursor = cursor_from(POSITION, client_id=client_id) or ""
    return str(json.loads(base64.urlsafe_b64decode(cursor))[0])


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (NOON, "2026-11-23T12:00:00.000000Z"),
        (NOON.replace(microsecond=7), "2026-11-23T12:00:00.000007Z"),
        (NOON.astimezone(timezone(timedelta(hours=5.5))), "2026-11-23T12:00:00.000000Z"),
    ],
)
def test_a_time_has_six_digits_of_its_second_and_is_utc(time: datetime, written: str) -> None:
    event = job_event(job(created_at=time), bucket="images")
    assert json.loads(event.model_dump_json())["created_at"] == written
    assert re.fullmatch(models.TIME_PATTERN, written)


def test_no_model_of_a_response_writes_a_time_in_another_form() -> None:
    found = 0
    for model in BaseModel.__subclasses__():
        if model.__module__ == models.__name__:
            for schema in schemas_in(model.model_json_schema(mode="serialization")):
                if schema.get("format") == "date-time":
                    assert schema["pattern"] == models.TIME_PATTERN
                    found += 1
    assert found >= 8


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from schemas_in(each)


def test_a_cursor_leads_back_to_its_position() -> None:
    cursor = cursor_from(POSITION, client_id="ann")
    assert position_in(cursor, client_id="ann") == POSITION


def test_the_end_has_no_cursor_and_the_beginning_needs_none() -> None:
    assert cursor_from(None, client_id="ann") is None
    assert position_in(None, client_id="ann") is None


def test_a_cursor_that_is_cut_anywhere_is_rejected() -> None:
    cursor = cursor_from(POSITION, client_id="ann") or ""
    for length in range(len(cursor)):
        with pytest.raises(InvalidRequestError):
            position_in(cursor[:length], client_id="ann")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "ä",
        "\ud800",
        "a b",
        forged(),
        forged("a", "b"),
        forged(mark("ann"), "yesterday", "job-1"),
        forged(mark("ann"), 5, "job-1"),
        forged(mark("ann"), f"2026-11-23T12:00:00.{'0' * 3000}+00:00", "job-1"),
        forged(mark("ann"), "2026-11-23", "job-1"),
        forged(mark("ann"), POSITION[0], ""),
        forged(mark("ann"), POSITION[0], "x" * 3000),
        forged(mark("ann"), POSITION[0], "key#ann"),
        forged(mark("bob"), *POSITION),
        forged({"a": 1}),
    ],
)
def test_a_cursor_that_is_not_this_clients_is_a_fault_of_the_query(cursor: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        position_in(cursor, client_id="ann")
    assert [field_error.loc for field_error in caught.value.field_errors] == [("query", "cursor")]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": JobStatus.QUEUED},
        {"attempt": 2},
        {"status": JobStatus.SUCCEEDED, "completed_at": NOON},
        {"charges": (Charge(attempt=1, upstream="x", outcome=ChargeOutcome.UNKNOWN, micros=1),)},
    ],
)
def test_the_entity_tag_changes_with_the_job(changes: dict[str, Any]) -> None:
    assert tag(job(**changes)) != tag(job())
    assert tag(job(**changes)) == tag(job(**changes), at=86_400)


def test_the_entity_tag_of_links_changes_before_they_end() -> None:
    generated = job(status=JobStatus.SUCCEEDED, images=(ImageRecord(index=0, seed=1, key="k"),))
    assert tag(generated) == tag(generated, at=1799)
    assert tag(generated) != tag(generated, at=1800)


def test_the_entity_tag_is_weak() -> None:
    assert tag(job()).startswith('W/"')


def test_images_are_inlined_in_order_while_they_fit_a_response() -> None:
    quarter = MAX_INLINE_BYTES // 16 * 3
    assert fitting({0: quarter, 2: quarter, 3: quarter, 7: quarter}) == (0, 2, 3, 7)
    assert fitting({0: quarter, 2: quarter + 3, 3: quarter, 7: quarter, 8: 1}) == (0, 2, 3)


def test_a_result_has_the_cost_of_the_job_and_why_it_failed() -> None:
    charge = Charge(attempt=1, upstream="x", outcome=ChargeOutcome.UNKNOWN, micros=30_000)
    error = {"code": "upstream_error", "message": "It broke."}
    broken = job(status=JobStatus.FAILED, charges=(charge, charge), error=error)
    response = job_response(
        broken, lambda key, until: FakeImages().sign(key, until=until, now=NOON)
    )
    assert response.cost_usd == 0.06
    assert response.error is not None
    assert response.error.model_dump() == error
