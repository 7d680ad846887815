"""The audit of a soak: what the tables, the vendors and the bus say of the same jobs."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.soak_clients import GROUP, Kind
from benchmarks.soak_services import PRICE, Bucket, EventBus, Vendors
from benchmarks.timed_dynamodb import Change
from benchmarks.wire import Item
from sd3.adapters.dynamodb.job_items import job_from
from sd3.domain.billing import NO_USAGE, ChargeOutcome, UsageEntry, day_of
from sd3.domain.client import JWT_CLIENTS
from sd3.domain.job import Job, JobStatus
from sd3.services.ports import UsageRepository

_ENDS = frozenset(status for status in JobStatus if status.is_terminal)
_RELEASING = frozenset(("upstream_error", "upstream_unavailable", "internal_error"))
"""The codes of failures after which a key makes another job, where nothing was paid for good."""

Day = tuple[str, str]
"""An owner of usage, and a day."""


@dataclass
class Jobs:
    """Every write of a job, as the table has it, for the audit."""

    kinds: tuple[Kind, ...]
    vendors: Vendors
    last: dict[str, Item] = field(default_factory=dict)
    """The last item of each job, also of deleted ones."""
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each job has come to each end."""
    deleted: set[str] = field(default_factory=set)
    over_budget: int = 0
    """Jobs that were made although the jobs before them had left no room in the budget."""
    _usage: dict[str, UsageEntry] = field(default_factory=dict)
    _committed: Counter[Day] = field(default_factory=Counter)

    def note(self, change: Change) -> None:
        """Take a change of the jobs table."""
        job_id, after = change.address[1], change.after
        if after is None or "document" not in after:
            if after and after.get("status") == {"S": "deleted"}:
                self.deleted.add(job_id)
            return
        status = after["status"]["S"]
        was = change.before["status"]["S"] if change.before else ""
        if status in _ENDS and was not in _ENDS:
            self.ends[job_id, status] += 1
        self.last[job_id] = after
        self.vendors.attempts[job_id] = int(after["attempt"]["N"])
        if budget := self._budget(after["client_id"]["S"]):
            self._note_budget(job_from(after), *budget, is_new=change.before is None)

    def _budget(self, client_id: str) -> tuple[str, int] | None:
        """Return the owner of a client's budget, and the budget."""
        for kind in self.kinds:
            if kind.client_id == GROUP and client_id.startswith(GROUP):
                return JWT_CLIENTS, kind.limits.total_daily_budget_micros or 0
            if kind.client_id == client_id and kind.limits.daily_budget_micros is not None:
                return client_id, kind.limits.daily_budget_micros
        return None

    def _note_budget(self, job: Job, owner: str, budget: int, *, is_new: bool) -> None:
        day = (owner, day_of(job.created_at))
        before = self._usage.get(job.id, NO_USAGE)
        self._usage[job.id] = job.usage
        self._committed[day] += job.usage.committed - before.committed
        self.over_budget += is_new and self._committed[day] > budget

    def all(self) -> Iterator[Job]:
        """Read the last state of every job."""
        return map(job_from, self.last.values())


@dataclass
class Audit:
    """What is wrong after a run: the aim of each number is 0. `counts` are of what happened."""

    open: int = 0
    """Jobs that have not ended."""
    wrong_days: int = 0
    """Days of the ledger that are not the sum of their jobs."""
    unbilled: int = 0
    """Images that a vendor has billed and no charge has."""
    overcharged: int = 0
    """Images that are charged for certain although no vendor has sent them."""
    twice: int = 0
    """Attempts with more charges than their images cost."""
    without_event: int = 0
    """Ends that no event was published of."""
    false_events: int = 0
    """Events of an end that no job has come to."""
    ended_twice: int = 0
    """Jobs that have come to more than one end."""
    without_image: int = 0
    """Images of a job that has succeeded, and was not deleted, that are not stored."""
    double_keys: int = 0
    """Idempotency-Keys with more than one job that could be paid for and was not given up."""
    over_budget: int = 0
    messages: int = 0
    """Messages that are still in a queue."""
    bugs: int = 0
    """Exceptions that nobody expects."""
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Audit") -> None:
        """Add another run."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def faults(self) -> Mapping[str, int]:
        """Return the numbers whose aim is 0, by name."""
        return {name: value for name, value in vars(self).items() if name != "counts"}


def audit(
    jobs: Jobs, *, vendors: Vendors, bus: EventBus, bucket: Bucket, keys: Mapping[str, set[str]]
) -> Audit:
    """Compare everything but the ledger, which takes calls."""
    found = Audit(over_budget=jobs.over_budget)
    every = {job.id: job for job in jobs.all()}
    charged: Counter[tuple[str, int]] = Counter()
    for job in every.values():
        found.counts[job.status] += 1
        found.open += job.status not in _ENDS
        _audit_charges(found, job, vendors, charged)
        if job.status is JobStatus.SUCCEEDED and job.id not in jobs.deleted:
            stored = [record.key for record in job.images if record.key]
            found.without_image += sum(key not in bucket.keys for key in stored)
    found.unbilled += sum((vendors.billed - charged).values())
    found.without_event = sum(end not in bus.published for end in jobs.ends)
    found.false_events = sum(end not in jobs.ends for end in bus.published)
    ends = Counter(job_id for job_id, _ in jobs.ends.elements())
    found.ended_twice = sum(times > 1 for times in ends.values())
    for made in keys.values():
        kept = [every[one] for one in made if one in every and not _releases(every[one])]
        found.double_keys += len(kept) > 1
    found.counts["jobs"] = len(every)
    found.counts["events"] = bus.published.total()
    found.counts["billed images"] = vendors.billed.total()
    found.counts["charged images"] = sum(job.cost_micros for job in every.values()) // PRICE
    return found


def _audit_charges(
    found: Audit, job: Job, vendors: Vendors, charged: Counter[tuple[str, int]]
) -> None:
    certain: Counter[int] = Counter()
    for charge in job.charges:
        charged[job.id, charge.attempt] += charge.micros // PRICE
        if charge.outcome is ChargeOutcome.CHARGED:
            certain[charge.attempt] += charge.micros // PRICE
    for attempt, images in certain.items():
        found.overcharged += max(0, images - vendors.answered[job.id, attempt])
    for attempt in {charge.attempt for charge in job.charges}:
        found.twice += charged[job.id, attempt] > job.request.num_images


def audit_ledger(jobs: Jobs, usage: UsageRepository) -> int:
    """Return how many days of the ledger are not the sum of their jobs."""
    sums: dict[Day, UsageEntry] = defaultdict(UsageEntry)
    for job in jobs.all():
        day = day_of(job.created_at)
        sums[job.client_id, day] += job.usage
        if job.client_id.startswith(GROUP):
            sums[JWT_CLIENTS, day] += job.usage
    wrong = 0
    for (owner, day), total in sums.items():
        days = usage.days(owner, since=day, until=day)
        entry = days[0].usage if days else NO_USAGE
        # Of a group, only what counts against its budget is kept.
        same = entry.committed == total.committed if owner == JWT_CLIENTS else entry == total
        wrong += not same
    return wrong


def _releases(job: Job) -> bool:
    """Return whether a job lets its key make another one."""
    if job.error is None or job.error.code not in _RELEASING:
        return False
    return not (job.is_final and job.cost_micros)
