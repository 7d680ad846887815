"""python -m ops.redrive SINCE UNTIL: put the jobs that failed in a period back into the queue."""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from ops.stacks import DeployedStack, StackError, find_stack
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.sqs import SqsJobQueue
from sd3.domain.job import Job
from sd3.errors import LeaseLostError, StorageError
from sd3.services.ports import JobRepository, MessageQueue

_LATE_SECONDS: Final = 60
"""Delay of the first message. By then the job is stored as queued; a worker that reads a failed job
drops its message."""


def main(arguments: list[str]) -> int:
    """Print how many jobs were put back, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make redrive", description=__doc__)
    parser.add_argument(
        "since", metavar="SINCE", type=moment, help="ISO time, UTC if it has no zone"
    )
    parser.add_argument(
        "until", metavar="UNTIL", type=moment, help="ISO time, UTC if it has no zone"
    )
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    try:
        count = redrive(
            find_stack(options.stack),
            since=options.since,
            until=options.until,
            now=datetime.now(UTC),
        )
    except (StackError, StorageError, BotoCoreError, ClientError) as error:
        print(f"not all jobs were put back, run it again: {error}", file=sys.stderr)
        return 1
    print(f"{count} jobs put back")
    return 0


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time into UTC; raises ValueError for any other text."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def redrive(deployed: DeployedStack, *, since: datetime, until: datetime, now: datetime) -> int:
    """Queue all jobs again that failed from `since` to `until`, and return their number.

    Running it twice is safe: a job that was put back is no longer failed. Raises StorageError, and
    botocore's errors when the stack cannot be found.
    """
    outputs = deployed.outputs()
    jobs = JobStore(
        deployed.client("dynamodb"), outputs["JobsTable"], usage_table=outputs["UsageTable"]
    )
    sqs = deployed.client("sqs")
    queue = SqsJobQueue(lambda: sqs, outputs["JobsQueue"])
    batch_queue = SqsJobQueue(lambda: sqs, outputs["BatchJobsQueue"])
    return sum(
        put_back(job, jobs, batch_queue if job.batch else queue, now=now)
        for day in _days(since.date(), until.date())
        for job in jobs.failed_on(day.isoformat(), since=since.isoformat(), until=until.isoformat())
        if job.expires_at > now
    )


def put_back(job: Job, jobs: JobRepository, queue: MessageQueue, *, now: datetime) -> bool:
    """Queue one job again; return False if it was redriven or deleted meanwhile.

    Raises StorageError.
    """
    # If this process dies before it sends the second message, the delayed one still arrives.
    queue.send(job, delay_seconds=_LATE_SECONDS)
    try:
        jobs.save(job.redrive(now=now))
    except LeaseLostError:
        return False
    queue.send(job)
    return True


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
