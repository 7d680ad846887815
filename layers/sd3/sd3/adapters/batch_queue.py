"""The queue of the steps of batches in SQS. A message names a batch, and holds nothing of it."""

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from sd3.adapters.sqs import SqsQueue
from sd3.domain.batch import BatchTask

_TASK = TypeAdapter(BatchTask)
_VALUES = TypeAdapter(dict[str, object])


class SqsBatchQueue(SqsQueue):
    """Sends messages of steps, in the group of their client."""

    def send(self, task: BatchTask) -> None:
        """Send a message for a step. Raises StorageError."""
        body = pydantic_core.to_json(task._asdict()).decode()
        self.send_body(body, MessageGroupId=task.client_id)


def parse_task(body: str) -> BatchTask | None:
    """Return the step that a message is for, or None if it is for none.

    A message that a later version has sent can say more.
    """
    try:
        values = _VALUES.validate_json(body)
        known = {name: values[name] for name in BatchTask._fields if name in values}
        return _TASK.validate_python(known)
    except ValidationError:
        return None
