"""The use case of a line's end: it is counted once, and the last one begins the results."""

from dataclasses import dataclass

from sd3.domain.batch import BatchStep, BatchTask
from sd3.domain.job import Job, JobStatus
from sd3.services.ports import BatchQueue, BatchRepository


@dataclass(frozen=True, kw_only=True)
class BatchEnds:
    """Counts the ends of the lines of batches. A repetition counts nothing."""

    batches: BatchRepository
    queue: BatchQueue

    def count(self, job: Job) -> None:
        """Count the end of a job that is a line's. Raises StorageError."""
        if job.batch is None:
            return
        self.note(
            job.client_id,
            job.batch.id,
            job.batch.part,
            job.batch.line,
            succeeded=job.status is JobStatus.SUCCEEDED,
            micros=job.cost_micros,
        )

    def note(
        self,
        client_id: str,
        batch_id: str,
        part: int,
        line: int,
        *,
        succeeded: bool = False,
        micros: int = 0,
    ) -> None:
        """Count the end of a line. Raises StorageError.

        Whoever tells of it again looks again whether all have ended: who told of it first may have
        died before.
        """
        noted = self.batches.note_end(
            client_id, batch_id, part, line, succeeded=succeeded, micros=micros
        )
        if noted and noted.is_complete:
            self.finish_if_complete(client_id, batch_id)

    def finish_if_complete(self, client_id: str, batch_id: str) -> None:
        """Begin the results once every line has ended. Raises StorageError.

        Parts are written before any line of theirs can end, and they are read as they are now. So
        the last end of all sees all others.
        """
        parts = self.batches.parts(client_id, batch_id)
        if parts and all(part.is_complete for part in parts):
            self.queue.send(BatchTask(client_id, batch_id, BatchStep.FINISH))
