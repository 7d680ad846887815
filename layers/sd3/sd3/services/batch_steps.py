"""The use case of a message of a batch: it takes the step that the message names."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sd3.domain.batch import Batch, BatchStatus, BatchStep, BatchTask
from sd3.errors import ChangedError, Sd3Error
from sd3.services.batch_lines import BatchLines
from sd3.services.batch_results import BatchResults, LinesOpenError
from sd3.services.ports import BatchRepository, Clock

_WRITTEN: Final = timedelta(seconds=150)
"""A message is sent before its batch is written. After this time, the batch will never be."""

_AT_ONCE: Final = timedelta(seconds=1)
_BETWEEN_READS_SECONDS: Final = 0.05
_SOON: Final = 2
_LONGEST_WAIT: Final = 900

_MOST_RECEIVES: Final = 20
"""Receives of a message after which its step is given up: its functions die, or it always fails."""

_MOST_OF_RESULTS: Final = 200
"""The same for results, which wait for lines that the operator has begun again."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BatchSteps:
    """Takes the steps of batches. Each can be taken again, by two functions at a time too."""

    batches: BatchRepository
    lines: BatchLines
    results: BatchResults
    clock: Clock

    def take(
        self, task: BatchTask, *, seconds: float, sent_at: datetime, receives: int
    ) -> int | None:
        """Take a step in at most `seconds`.

        Returns None when nothing is left to do, and otherwise the seconds until the message must
        be received again. Raises Sd3Error.
        """
        batch = self._find(task, sent_at)
        if batch is None:
            age = self.clock.now() - sent_at
            return max(_SOON, int(age.total_seconds())) if age < _WRITTEN else None
        if batch.status.is_terminal:
            if receives > 1 and task.step in {BatchStep.SPLIT, BatchStep.FINISH}:
                self.results.tell(batch)  # perhaps who ended it died before it told of that
            return None
        most = _MOST_OF_RESULTS if task.step is BatchStep.FINISH else _MOST_RECEIVES
        try:
            if receives > most:
                self._give_up(batch, task)
                return None
            return self._take(batch, task, seconds)
        except ChangedError:
            return _SOON
        except LinesOpenError:
            return min(30 * receives, _LONGEST_WAIT)

    def _find(self, task: BatchTask, sent_at: datetime) -> Batch | None:
        """Read a batch. A message can arrive milliseconds before its batch."""
        while (batch := self.batches.find(task.client_id, task.batch_id)) is None:
            if self.clock.now() - sent_at > _AT_ONCE:
                return None
            self.clock.sleep(_BETWEEN_READS_SECONDS)
        return batch

    def _give_up(self, batch: Batch, task: BatchTask) -> None:
        """Do without a step, and end what waits for it.

        A part's lines without a job are refused. A batch that could not be split, or whose results
        could not be written, has failed. Jobs that could not be canceled end by themselves.
        """
        _logger.error("step of a batch given up", extra={"batch_id": batch.id, "step": task.step})
        if task.step is BatchStep.MAKE and task.part is not None:
            self.lines.give_up(batch, task.part)
        elif task.step is not BatchStep.CANCEL:
            self.results.fail(batch, Sd3Error("The batch could not be processed."))

    def _take(self, batch: Batch, task: BatchTask, seconds: float) -> int | None:
        if task.step is BatchStep.SPLIT:
            split = self.lines.split(batch)
            if split.status is BatchStatus.FAILED:
                self.results.tell(split)
        elif task.step is BatchStep.FINISH:
            self.results.finish(batch)
        elif task.part is None:
            self.lines.cancel(batch)
        elif task.step is BatchStep.CANCEL:
            self.lines.cancel_part(batch, task.part)
        elif not self.lines.make(batch, task.part, seconds=seconds):
            return 0
        return None
