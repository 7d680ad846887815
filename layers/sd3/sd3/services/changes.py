"""The use case of every write of a job: its usage is recorded, and an answered job is guarded.

A job that is answered at once is written without a message in the queue. Its message is sent from
here, as soon as the table's stream has the job. It arrives when the lease has run off: if the
function has died, a worker takes the job over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sd3.domain.job import Job, JobChange, JobStatus
from sd3.services.ports import Clock, MessageQueue, UsageLedger


@dataclass(frozen=True, kw_only=True)
class JobChanges:
    """Takes every write of a job at least once, and those of one job in their order."""

    usage: UsageLedger
    queue: MessageQueue
    clock: Clock

    def process(self, changes: Sequence[JobChange]) -> None:
        """Send the messages of new jobs that run, and record what the writes change in the ledger.

        Raises StorageError. The caller then repeats all of them.
        """
        # First, since a job without its message would have nobody if its function has died.
        self.queue.send_all(
            [
                (change.after, self._delay(change.after))
                for change in changes
                if change.before is None and change.after.status is JobStatus.RUNNING
            ]
        )
        self.usage.record(changes, now=self.clock.now())

    def _delay(self, job: Job) -> int:
        """Return the seconds until a job's lease has run off."""
        left = (job.lease_until - self.clock.now()).total_seconds() if job.lease_until else 0.0
        return max(int(left) + 1, 0)
