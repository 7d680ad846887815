"""The use case of a job's end, whatever door it came by: an event, and the inbox's answer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sd3.domain.job import Job
from sd3.errors import StorageError
from sd3.responses.models import JobEvent
from sd3.responses.render import job_event
from sd3.services.ports import EventPublisher, InboxResults

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobEventPublisher:
    """Tells of jobs that have ended. To tell twice is harmless; not to tell is not."""

    bus: EventPublisher
    answers: InboxResults
    bucket: str

    def publish(self, jobs: Sequence[Job]) -> int:
        """Put the events of these jobs, and write the answers of those from the inbox, in order.

        Returns how many were told of before the first that failed; nothing is raised.
        """
        reports = [job_event(job, bucket=self.bucket) for job in jobs]
        told = self.bus.put([_detail(report) for report in reports])
        for index, job in enumerate(jobs[:told]):
            if not job.inbox:
                continue
            try:
                self.answers.write(job.inbox, reports[index].model_dump_json(), first=False)
            except StorageError:
                _logger.exception("answer not written", extra={"job_id": job.id})
                return index
        return told


def _detail(report: JobEvent) -> str:
    return report.model_dump_json(exclude={"images": {"__all__": {"url"}}})
