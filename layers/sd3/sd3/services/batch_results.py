"""The use case of a batch's end: the file of its results, its event, and its inbox result."""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Final

from sd3.domain.batch import Batch, BatchCounts, BatchPart, RefusedLine, job_id_of
from sd3.domain.job import Job, JobStatus
from sd3.errors import Sd3Error
from sd3.responses.batches import (
    LineResult,
    batch_event,
    deleted_result,
    job_result,
    refused_result,
)
from sd3.services.ports import (
    BatchEvents,
    BatchRepository,
    BatchStorage,
    Clock,
    InboxResults,
    JobRepository,
)

_JOBS_AT_ONCE: Final = 100


class LinesOpenError(Exception):
    """A line has not ended: its job was begun again by the operator. The results can wait."""


@dataclass(frozen=True, kw_only=True)
class BatchResults:
    """Writes what became of every line, in the order of the lines, and tells of the end."""

    batches: BatchRepository
    files: BatchStorage
    jobs: JobRepository
    events: BatchEvents
    inbox: InboxResults
    clock: Clock
    bucket: str

    def finish(self, batch: Batch) -> None:
        """Write the results of a batch whose lines have all ended, and end it.

        Done again, it writes the same file again. Raises LinesOpenError, ChangedError and
        StorageError.
        """
        parts = self.batches.parts(batch.client_id, batch.id)
        if not parts or not all(part.is_complete for part in parts):
            return
        finalizing = batch.finalize()
        if finalizing.status is not batch.status:
            batch = self.batches.save(finalizing)
        counts = self._write(batch, parts)
        self.tell(self.batches.save(batch.finish(counts, now=self.clock.now())))

    def fail(self, batch: Batch, error: Sd3Error) -> None:
        """End a batch as failed as a whole. Raises ChangedError and StorageError."""
        self.tell(self.batches.save(batch.fail(error, now=self.clock.now())))

    def tell(self, batch: Batch) -> None:
        """Tell of the end of a batch, again too. Raises StorageError."""
        event = batch_event(batch, bucket=self.bucket)
        if batch.inbox:
            self.inbox.write(batch.inbox, event.model_dump_json(), first=False)
        self.events.put_batch_ended(event.model_dump_json())

    def _write(self, batch: Batch, parts: list[BatchPart]) -> BatchCounts:
        """Write the file, which can be larger than the memory; return what it says in sum."""
        counts = BatchCounts()
        refused = self.batches.refused(batch.client_id, batch.id)
        with TemporaryFile() as file:
            for result, micros in self._results(batch, parts, refused):
                file.write(result.model_dump_json().encode() + b"\n")
                counts += _counts_of(result, micros)
            self.files.put_results(batch.results_key, file)
            if batch.inbox:
                self.inbox.write_lines(batch.inbox, file)
        return counts

    def _results(
        self, batch: Batch, parts: list[BatchPart], refused: dict[int, RefusedLine]
    ) -> Iterator[tuple[LineResult, int]]:
        numbers = [line for part in parts for line in sorted(part.ended)]
        for at in range(0, len(numbers), _JOBS_AT_ONCE):
            ids = {line: job_id_of(batch.id, line) for line in numbers[at : at + _JOBS_AT_ONCE]}
            jobs = self.jobs.find_all(list(ids.values()))
            for line, job_id in ids.items():
                job = jobs.get(job_id)
                result = _result(line, job_id, job, refused.get(line), self.bucket)
                yield result, job.cost_micros if job else 0


def _result(
    line: int, job_id: str, job: Job | None, refused: RefusedLine | None, bucket: str
) -> LineResult:
    """Render a line's result. A job is what counts: it may have been made after a refusal."""
    if job is None:
        return refused_result(refused) if refused else deleted_result(job_id, line)
    if not job.status.is_terminal:
        raise LinesOpenError
    return job_result(job, line, bucket=bucket)


def _counts_of(result: LineResult, micros: int) -> BatchCounts:
    succeeded = result.status == JobStatus.SUCCEEDED
    return BatchCounts(1, int(succeeded), int(not succeeded), micros)
