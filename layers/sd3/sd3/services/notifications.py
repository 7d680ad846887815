"""The use case of a job's end, whatever door it came by: an event, the inbox's answer, metrics."""

from collections import Counter
from dataclasses import dataclass

from sd3.domain.job import Job
from sd3.responses.models import JobEvent
from sd3.responses.render import job_event
from sd3.services.ports import EventPublisher, InboxResults, Metrics


@dataclass(frozen=True, kw_only=True)
class JobEventPublisher:
    """Tells of jobs that have ended. To tell twice is harmless; not to tell is not."""

    bus: EventPublisher
    answers: InboxResults
    metrics: Metrics
    bucket: str

    def publish(self, job: Job) -> None:
        """Put the event of a job's end, write its answer if it is from the inbox, and count it.

        Raises StorageError, with nothing counted: then it is to be published again.
        """
        event = job_event(job, bucket=self.bucket)
        self.bus.put(_detail(event))
        if job.inbox:
            self.answers.write(job.inbox, event.model_dump_json(), first=False)
        self._count(job)

    def _count(self, job: Job) -> None:
        """Count an end, and what the job has cost since it was made, or put back by a redrive.

        A job that was canceled while it ran counts with what its attempt may cost at most.
        """
        removed = sum(record.removed_for_safety for record in job.images)
        self._add("JobsEnded", 1, job, status=job.status)
        self._add("ImagesGenerated", job.usage.images, job)
        self._add("ImagesRemoved", removed, job)
        costs: Counter[str] = Counter()
        for charge in job.charges:
            if charge.attempt > job.redriven_attempt:
                costs[charge.upstream] += charge.micros
        for upstream, micros in costs.items():
            self._add("CostMicros", micros, job, upstream=upstream)

    def _add(self, name: str, value: float, job: Job, **dimensions: str) -> None:
        self.metrics.add(name, value, client_id=job.client_id, job_id=job.id, **dimensions)


def _detail(event: JobEvent) -> str:
    return event.model_dump_json(exclude={"images": {"__all__": {"url"}}})
