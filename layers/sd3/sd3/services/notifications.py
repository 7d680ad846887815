"""The use cases of a job's end: its event, its inbox result, its metrics, and its webhook."""

from collections import Counter
from dataclasses import dataclass

from sd3.domain.delivery import delivery_of, event_of, own_webhook
from sd3.domain.job import Job, JobStatus
from sd3.responses.models import JobEvent
from sd3.responses.render import job_event
from sd3.services.ports import (
    DeliveryQueue,
    EventPublisher,
    InboxResults,
    Metrics,
    WebhookRepository,
)


@dataclass(frozen=True, kw_only=True)
class JobEventPublisher:
    """Publishes the end of each job at least once. A repetition is harmless, and a loss is not."""

    bus: EventPublisher
    results: InboxResults
    metrics: Metrics
    bucket: str

    def publish(self, job: Job) -> None:
        """Publish the event of a job's end, write the result of an inbox job, and count the end.

        Raises StorageError before anything is counted. The caller then publishes it again.
        """
        event = job_event(job, bucket=self.bucket)
        self.bus.put(_detail(event))
        if job.inbox:
            self.results.write(job.inbox, event.model_dump_json(), first=False)
        self._count(job)

    def _count(self, job: Job) -> None:
        """Count an end and what the job has cost since it was created or last redriven.

        A job that was canceled while it ran counts with the most that its attempt can cost.
        """
        removed = sum(record.removed_for_safety for record in job.images)
        self._add("JobsEnded", 1, job, status=job.status)
        if job.status is JobStatus.FAILED and job.error:
            self._add("JobsFailed", 1, job, code=job.error.code)
        name = "ImagesReused" if job.reused_from else "ImagesGenerated"
        self._add(name, job.usage.images, job)
        self._add("ImagesRemoved", removed, job)
        costs: Counter[str] = Counter()
        for charge in job.charges:
            if charge.attempt > job.redriven_attempt:
                costs[charge.upstream] += charge.micros
        for upstream, micros in costs.items():
            self._add("CostMicros", micros, job, upstream=upstream)

    def _add(self, name: str, value: float, job: Job, **dimensions: str) -> None:
        self.metrics.add(name, value, client_id=job.client_id, job_id=job.id, **dimensions)


@dataclass(frozen=True, kw_only=True)
class WebhookAnnouncer:
    """Begins the delivery of a job's end, if its client wants to hear of it."""

    webhooks: WebhookRepository
    queue: DeliveryQueue

    def announce(self, job: Job) -> None:
        """Send the message of a delivery. A repetition is the same delivery.

        A request's own webhook takes the place of the client's. The lines of a batch have only
        their own: thousands of messages are not what the client has asked for. Raises StorageError.
        """
        event, own = event_of(job), own_webhook(job)
        if own is not None:
            if event in own.events:
                self.queue.send(delivery_of(job, is_own=True))
        elif job.batch is None and self.webhooks.settings(job.client_id).wants(event):
            self.queue.send(delivery_of(job, is_own=False))


def _detail(event: JobEvent) -> str:
    return event.model_dump_json(exclude={"images": {"__all__": {"url"}}})
