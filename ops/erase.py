"""python -m ops.erase CLIENT: show what a stack has of a client, and with --sure erase it.

Every step can be repeated, and so can the command: after a failure, and for what came meanwhile.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ops.client_data import ClientData, data_of, known_id
from ops.clients import table
from ops.export import EXPORTS, written
from ops.stacks import StackError, find_stack
from sd3.adapters.dynamodb.client_items import Values
from sd3.adapters.dynamodb.job_items import DELETED, is_result, job_from_values
from sd3.adapters.dynamodb.usage_items import KEEP_MARK
from sd3.domain.billing import NO_USAGE, DailyUsage
from sd3.domain.job import JobChange, JobStatus
from sd3.errors import GoneError, LeaseLostError, NotFoundError, StorageError

UNDER_WAY: Final = timedelta(minutes=16)
"""How long what was allowed before can still store something: a form for an upload, for 15 minutes,
of a client whose token the gateway took for a minute more."""

KEEP_FAILURE: Final = timedelta(days=16)
"""A write is given up after a day at most, kept for 14, and removed after the next midnight."""

OPEN_JOBS: Final = "open jobs"
_ENDED_JOBS: Final = "ended jobs"
_DELETED_JOBS: Final = "deleted jobs"
_KEYS: Final = "idempotency keys"
_RESULTS: Final = "results that can be reused"
_WEBHOOKS: Final = "webhooks and deliveries"
_BATCHES: Final = "batches, their parts and refused lines"
_TRIES: Final = 5
_LEDGER_SECONDS: Final = 30
_JWT_CLIENT: Final = "jwt-"


class Report(NamedTuple):
    """What was erased of a client, and what remains until when."""

    client: str
    at: datetime
    counts: Counter[str]
    days: Sequence[DailyUsage]
    remains: Sequence[tuple[str, datetime | None]]

    def write(self, folder: Path) -> Path:
        """Write it as JSON."""
        path = folder / f"{self.client}-erased-{self.at:%Y%m%dT%H%M%SZ}.json"
        with written(path) as file:
            file.write(json.dumps(self._values(), indent=1, default=datetime.isoformat).encode())
        return path

    def lines(self) -> Iterator[str]:
        """Tell it to people."""
        yield from counted(self.counts)
        yield "What remains, and until when:"
        yield from table([(_day(until), what) for what, until in self.remains])
        if any(self.counts.values()):
            again = self.at + UNDER_WAY
            yield f"Run it again after {again:%H:%M} UTC, for what was under way meanwhile."
        else:
            yield f"There is nothing left of {self.client}."

    def _values(self) -> dict[str, object]:
        usage = [{"date": one.day, **one.usage.model_dump()} for one in self.days]
        remains = [{"what": what, "until": until} for what, until in self.remains]
        return {
            "client": self.client,
            "at": self.at,
            "erased": self.counts,
            "usage_in_micro_dollars": usage,
            "remains": remains,
            "run_again_after": self.at + UNDER_WAY,
        }


def main(arguments: list[str]) -> int:
    """Print what there is or was of the client, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make erase", description=__doc__)
    parser.add_argument("client", metavar="CLIENT", type=known_id)
    parser.add_argument("--sure", help="the client's id again, to erase it")
    parser.add_argument("--out", type=Path, default=EXPORTS, help="the folder of the report")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    if options.sure not in {None, options.client}:
        parser.error(f"SURE={options.sure} is not CLIENT={options.client}: nothing was erased")
    try:
        deployed = find_stack(options.stack)
        data = data_of(options.client, deployed)
        if options.sure is None:
            lines = [*counted(count(data)), f"Nothing was erased: SURE={options.client} does it."]
        else:
            recovery_days = int(deployed.parameters().get("RecoveryDays", "35"))
            report = erase(data, out=options.out, recovery_days=recovery_days)
            lines = [*report.lines()]
    except (StackError, StorageError, OSError, BotoCoreError, ClientError) as error:
        print(f"not everything was erased, run it again: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def count(data: ClientData) -> Counter[str]:
    """Count what there is of a client, and change nothing. Raises StorageError."""
    counts = _counter(tokens=len(data.tokens.of(data.client_id)))
    for page in data.items.pages():
        counts.update(map(_kind, page))
    for folder in data.files.folders:
        counts[folder.name] = sum(1 for _ in data.files.files(folder))
    counts[_WEBHOOKS] = len(data.items.webhook_keys())
    counts[_BATCHES] = len(data.items.batch_keys())
    counts["items of usage"] = len(data.items.usage_keys())
    return counts


def counted(counts: Counter[str]) -> Iterator[str]:
    """Format counts as lines."""
    return table([(what, str(number)) for what, number in counts.items()])


def erase(
    data: ClientData,
    *,
    out: Path,
    recovery_days: int,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Erase a client, with a report in the folder `out`. Raises StorageError and OSError.

    First its tokens and its batches end, so that little comes meanwhile. Tokens are removed last,
    with its usage, which only the report has afterwards. Files are removed after jobs: the end of a
    job of the inbox, which the stream may bring a moment later, writes one. So are webhooks: a
    message to one that comes later writes nothing if its job is gone.
    """
    at = now()
    tokens = data.tokens.of(data.client_id)
    if tokens:
        data.tokens.revoke(data.client_id)
    counts = _counter(tokens=len(tokens))
    counts[_BATCHES] = len(data.items.batch_keys())
    data.items.remove_batches()
    _erase_jobs(data, counts, now=now, sleep=sleep)
    for folder in data.files.folders:
        counts[folder.name] = data.files.remove(folder)
    counts[_WEBHOOKS] = len(data.items.webhook_keys())
    data.items.remove_webhooks()
    counts["items of usage"] = len(data.items.usage_keys())
    remains = remaining(data.client_id, now=at, recovery_days=recovery_days)
    report = Report(data.client_id, at, counts, data.days(), remains)
    report.write(out)
    data.items.remove_usage()
    data.tokens.erase(data.client_id)
    return report


def _erase_jobs(
    data: ClientData,
    counts: Counter[str],
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> None:
    """Cancel the open jobs, so that receivers hear of their end, and remove all items."""
    canceled: list[Values] = []
    changes: list[JobChange] = []
    for page in data.items.pages():
        counts.update(map(_kind, page))
        data.items.remove([one for one in page if _kind(one) != OPEN_JOBS], now=now())
        for values in page:
            if _kind(values) == OPEN_JOBS:
                change = _cancel(data, values, now=now())
                if change:
                    changes.append(change)
                    values["version"] = change.after.version
                canceled.append(values)
    # A budget that clients share gets back what they had reserved.
    waited = [change.after for change in changes if change.usage != NO_USAGE]
    for _ in range(_LEDGER_SECONDS):
        waited = [job for job in waited if not data.items.is_recorded(job)]
        if not waited:
            break
        sleep(1)
    data.items.remove(canceled, now=now())


def _cancel(data: ClientData, values: Values, *, now: datetime) -> JobChange | None:
    """Cancel an open job, unless it ends by itself; None if it cannot be read.

    An attempt at it finds that the job has changed or is gone, and removes the images that it has
    stored. Raises StorageError.
    """
    try:
        job = job_from_values(values)
    except StorageError:
        return None
    for _ in range(_TRIES):
        if job.status.is_terminal:
            return JobChange(job, job)
        try:
            # Without an inbox file, whose result would be written when the stream brings the end.
            canceled = job.cancel(now=now).model_copy(update={"inbox": None})
            return JobChange(job, data.jobs.save(canceled))
        except LeaseLostError:
            try:
                job = data.jobs.get(job.id, now=now)
            except (GoneError, NotFoundError):
                return JobChange(job, job)
    raise StorageError("A job could not be canceled: it changes too fast.")


def _counter(*, tokens: int) -> Counter[str]:
    """Begin a count, in the order in which it is printed."""
    kinds = (OPEN_JOBS, _ENDED_JOBS, _DELETED_JOBS, _KEYS, _RESULTS)
    return Counter({"tokens": tokens, **dict.fromkeys(kinds, 0)})


def _kind(values: Values) -> str:
    status = values.get("status")
    if status is None:
        return _RESULTS if is_result(values) else _KEYS
    if status == DELETED:
        return _DELETED_JOBS
    return OPEN_JOBS if status in {JobStatus.QUEUED, JobStatus.RUNNING} else _ENDED_JOBS


def remaining(
    client_id: str, *, now: datetime, recovery_days: int
) -> list[tuple[str, datetime | None]]:
    """List what an erasure leaves, and until when; None where no time is set."""
    day = timedelta(days=1)
    remains = [
        ("tokens that the gateway has just found active", now + timedelta(minutes=1)),
        ("the last writes of its jobs, with prompts, in the jobs table's stream", now + day),
        ("those that were given up, in StreamFailuresBucket", now + KEEP_FAILURE),
        ("marks of the last writes of jobs, by the jobs' ids", now + KEEP_MARK),
        ("ids of jobs and names of files, in messages that nothing could process", now + 14 * day),
        ("ids of the client and of its jobs, in messages to its webhooks that wait", now + day / 2),
        ("ids of the client and of its batches, in messages of batches that wait", now + 4 * day),
        ("ids of the client and of its jobs, in the logs", now + 30 * day),
        ("the tables as they were, in their point-in-time backups", now + recovery_days * day),
        ("a hash of the client's id among the upstreams' failures, if its jobs failed", None),
        ("what upstreams keep of prompts and images", None),
        ("what receivers of events and of webhooks keep of the ends of jobs", None),
        ("exports and reports", None),
    ]
    if client_id.startswith(_JWT_CLIENT):
        remains.append(
            ("JWTs: the client begins anew with the next one that its issuer gives", None)
        )
    return remains


def _day(until: datetime | None) -> str:
    return f"{until:%Y-%m-%d %H:%M}" if until else "no time is set"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
