"""The use case of a batch's lines: the file is cut into parts, and each line becomes a job.

Every step can be told twice, and a function can die at any point of one. Parts are written once,
and a line's job has an id that is derived from the line. So no line is made twice, and the message
of a step that was not done comes again.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from sd3.domain.batch import (
    Batch,
    BatchPart,
    BatchStatus,
    BatchStep,
    BatchTask,
    RefusedLine,
    job_id_of,
)
from sd3.domain.batch_lines import LineError, lines_of, parse_line, split, too_long
from sd3.domain.client import RequestContext
from sd3.domain.job import BatchOrigin, Job
from sd3.errors import (
    GoneError,
    LeaseLostError,
    NotFoundError,
    RequestError,
    Sd3Error,
)
from sd3.services.batch_ends import BatchEnds
from sd3.services.ports import BatchQueue, BatchRepository, BatchStorage, Clock
from sd3.services.submission import JobSubmission

_AT_ONCE: Final = 8
"""Lines that become jobs at the same time. Each of them makes about three calls."""

_LINE_SECONDS: Final = 20
"""The time that is reserved for the last lines. One with an init image takes some seconds."""


@dataclass(frozen=True, kw_only=True)
class BatchLines:
    """Makes the jobs of batches, and cancels them."""

    batches: BatchRepository
    files: BatchStorage
    submission: JobSubmission
    ends: BatchEnds
    queue: BatchQueue
    clock: Clock
    one_image: Lock = field(default_factory=Lock)
    """Decoded images take hundreds of megabytes, so there is one at a time."""

    def split(self, batch: Batch) -> Batch:
        """Cut the file of a batch into parts, and send a message for each.

        A batch that is split already only gets its messages again. Returns the batch, which has
        failed if the file is none of a batch. Raises ChangedError and StorageError.
        """
        if not batch.is_split:
            try:
                ranges = split(self.files.chunks(batch.file_key))
            except RequestError as error:
                return self.batches.save(batch.fail(error, now=self.clock.now()))
            self.batches.add_parts(batch, ranges)
            batch = self.batches.save(batch.split(sum(each.lines for each in ranges)))
        for part in self.batches.parts(batch.client_id, batch.id):
            if not part.is_made:
                self._send(batch, BatchStep.MAKE, part.number)
        return batch

    def make(self, batch: Batch, number: int, *, seconds: float) -> bool:
        """Make the jobs of the lines of a part; return False if there was no time for all.

        The first failure of ours is raised after all other lines are made. Raises Sd3Error.
        """
        part = self.batches.part(batch.client_id, batch.id, number)
        if part is None:
            return True
        if not part.is_made:
            is_canceled = batch.status is BatchStatus.CANCELLING
            if not (is_canceled or self._make_all(batch, part, seconds)):
                return False
            self.batches.note_made(batch.client_id, batch.id, number)
        now_is = self.batches.find(batch.client_id, batch.id)
        if now_is and now_is.status is BatchStatus.CANCELLING:  # perhaps since the part was begun
            self.cancel_part(now_is, number)
        self.ends.finish_if_complete(batch.client_id, batch.id)
        return True

    def cancel(self, batch: Batch) -> None:
        """Send the messages by which the parts of a batch are canceled. Raises StorageError.

        A part that is not made is canceled by whoever makes it, which reads the batch afterwards.
        """
        for part in self.batches.parts(batch.client_id, batch.id):
            if part.is_made and not part.is_complete:
                self._send(batch, BatchStep.CANCEL, part.number)

    def cancel_part(self, batch: Batch, number: int) -> None:
        """Cancel the jobs of a part that have not ended, and refuse lines without a job.

        Raises StorageError.
        """
        self._end_rest(batch, number, code="canceled", message="The batch was canceled.")

    def give_up(self, batch: Batch, number: int) -> None:
        """Refuse the lines of a part that no job could be made of. Raises StorageError."""
        error = Sd3Error("No job could be made of the line.")
        self._end_rest(batch, number, code=error.code, message=error.message)
        self.batches.note_made(batch.client_id, batch.id, number)

    def _make_all(self, batch: Batch, part: BatchPart, seconds: float) -> bool:
        """Make the lines of a part that have no job yet, as long as there is time."""
        until = self.clock.monotonic() + seconds - _LINE_SECONDS
        lines = self._lines(batch, part)
        ids = {number: job_id_of(batch.id, number) for number, _ in lines}
        made = self.submission.jobs.find_all(list(ids.values())) if ids else {}
        failures: list[Exception] = []

        def make(line: tuple[int, bytes]) -> bool:
            if self.clock.monotonic() > until:
                return False
            try:
                self._make(batch, part.number, *line, seconds)
            except Exception as error:  # noqa: BLE001 - one line must not keep others from their jobs
                failures.append(error)
            return True

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            is_done = all(list(pool.map(make, [one for one in lines if ids[one[0]] not in made])))
        if failures:
            raise failures[0]
        return is_done

    def _lines(self, batch: Batch, part: BatchPart) -> list[tuple[int, bytes]]:
        """Read the lines of a part that have not ended. One that is too long is not read."""
        if part.is_complete:
            return []
        if part.range.is_too_long:
            return [(part.range.first, b"")]
        data = self.files.read(batch.file_key, offset=part.range.offset, length=part.range.length)
        return [line for line in lines_of(data, part.range) if line[0] not in part.ended]

    def _make(self, batch: Batch, part: int, number: int, text: bytes, seconds: float) -> None:
        limits = batch.line_limits
        line = parse_line(text, number, max_images=limits.max_images) if text else too_long(number)
        if isinstance(line, LineError):
            self._refuse(batch, part, _refused(line))
            return
        context = RequestContext(
            batch.client_id,
            job_id_of(batch.id, number),
            seconds,
            respond_async=True,
            client_name=batch.client_name,
            limits=limits,
            scaled_size=line.scaled_size,
            batch=BatchOrigin(
                id=batch.id, line=number, part=part, custom_id=line.custom_id, ignored=line.ignored
            ),
        )
        try:
            with self.one_image if line.request.init_image_id else nullcontext():
                self.submission.submit(line.request, context)
        except (GoneError, NotFoundError):
            return  # its job has ended and was deleted before this repetition
        except RequestError as error:
            self._refuse(batch, part, _refused(LineError.of(number, line.custom_id, error)))

    def _end_rest(self, batch: Batch, number: int, *, code: str, message: str) -> None:
        part = self.batches.part(batch.client_id, batch.id, number)
        if part is None:
            return
        for line, custom_id in self._open(batch, part):
            try:
                job = self.submission.jobs.get(job_id_of(batch.id, line), now=self.clock.now())
            except NotFoundError:
                refused = RefusedLine(
                    line=line,
                    custom_id=custom_id,
                    code=code,
                    message=message,
                    is_canceled=batch.status is BatchStatus.CANCELLING,
                )
                self._refuse(batch, number, refused)
            except GoneError:
                self.ends.note(batch.client_id, batch.id, number, line)
            else:
                self._end_job(batch, job)

    def _open(self, batch: Batch, part: BatchPart) -> Iterator[tuple[int, str | None]]:
        """Read the numbers and the custom_ids of the lines that have not ended."""
        for number, text in self._lines(batch, part):
            line = parse_line(text, number, max_images=None) if text else too_long(number)
            yield number, line.custom_id

    def _end_job(self, batch: Batch, job: Job) -> None:
        """Cancel the job of a line if it is open. One that has ended is counted, if it was not."""
        while not job.status.is_terminal:
            if batch.status is not BatchStatus.CANCELLING:
                return
            now = self.clock.now()
            with suppress(LeaseLostError):  # it changed after it was read: read it again
                self.submission.jobs.save(job.cancel(now=now))
                return  # the table's stream tells of the end
            try:
                job = self.submission.jobs.get(job.id, now=now)
            except (GoneError, NotFoundError):
                return
        self.ends.count(job)

    def _refuse(self, batch: Batch, part: int, refused: RefusedLine) -> None:
        self.batches.refuse(batch, refused)
        self.ends.note(batch.client_id, batch.id, part, refused.line)

    def _send(self, batch: Batch, step: BatchStep, part: int) -> None:
        self.queue.send(BatchTask(batch.client_id, batch.id, step, part))


def _refused(error: LineError) -> RefusedLine:
    return RefusedLine(
        line=error.number,
        custom_id=error.custom_id,
        code=error.code,
        message=error.message,
        detail=error.detail,
    )
