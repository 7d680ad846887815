"""The jobs table's stream: a job that has ended is announced, whoever wrote its end."""

from typing import Any

from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.table import Item
from sd3.bootstrap import job_event_publisher
from sd3.domain.job import Job, JobStatus
from sd3.errors import StorageError
from sd3.observability import logger


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer from which record on the stream is to come again."""
    log = logger()  # before the package writes to it
    ended = [
        (record["dynamodb"]["SequenceNumber"], job)
        for record in event["Records"]
        if (job := _just_ended(record["dynamodb"]))
    ]
    told = job_event_publisher().publish([job for _, job in ended])
    for _, job in ended[:told]:
        log.info("job ended", extra={"job_id": job.id, "status": job.status})
    return {"batchItemFailures": [{"itemIdentifier": number} for number, _ in ended[told:][:1]]}


def _just_ended(change: dict[str, Any]) -> Job | None:
    """The job that ended with a change; None for every other change."""
    new = change.get("NewImage")
    if new is None or not _is_end(new) or _is_end(change.get("OldImage", {})):
        return None
    try:
        return job_from(new)
    except StorageError:  # to repeat it would hold up all others
        logger().error("an ended job cannot be read", extra={"job_id": new["id"]["S"]})
        return None


def _is_end(item: Item) -> bool:
    """Whether it is a job's item, not a key's or what is left of a deleted job, and has ended."""
    status = item.get("status", {}).get("S")
    return any(status == one for one in JobStatus if one.is_terminal)
