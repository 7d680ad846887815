"""Budgets: the reservation of a new job's cost in the transaction that writes the job.

An item can be in one transaction at a time. So the jobs of one owner would wait for each other if
all of them were reserved in the item of the day. That is where they are reserved as long as they do
not meet. When they meet, a part of the budget is moved from the day to lots, and each job is
reserved in one of them, chosen at random. A job that finds too little in its lot looks at the whole
day: it fills the empty lots, collects the rest from all of them, or is rejected. So a budget is
never exceeded by jobs that are made at the same time, and is used to the last micro-dollar.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sd3.adapters.dynamodb.reservation import Contention, Reservation
from sd3.adapters.dynamodb.table import ConditionFailedError, ConflictError, Table
from sd3.domain.job import Job
from sd3.errors import StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_TRIES: Final = 16

_AT_ONCE: Final = 5
"""So many tries follow each other without a wait if each goes to other items."""


class Budgets:
    """The budgets in the usage table."""

    def __init__(self, table: Table, *, jitter: Callable[[], float]) -> None:
        """Set up without a call; `jitter` returns a random number from 0 to 1."""
        self._table = table
        self.contention = Contention(jitter=jitter)

    def reserve(
        self, job: Job, budgets: Mapping[str, int], puts: "Sequence[TransactWriteItemTypeDef]"
    ) -> None:
        """Write `puts`, and reserve a new job's cost in budgets of micro-dollars, by their owners.

        All of it is one transaction. Raises ConditionFailedError for `puts`, NoRoomError and
        StorageError.
        """
        reservations = [
            Reservation(self._table, self.contention, job, *each) for each in budgets.items()
        ]
        for tried in range(_TRIES):
            parts, owners = list(puts), [-1] * len(puts)
            for number, each in enumerate(reservations):
                parts += each.parts
                owners += [number] * len(each.parts)
            try:
                self._table.transact_once(parts)
            except ConflictError as error:
                met = {owners[at] for at in error.positions}
                stays = [number < 0 or reservations[number].meet() for number in met]
                if any(stays) or tried >= _AT_ONCE:
                    self._table.wait(max(tried - _AT_ONCE, 0))
            except ConditionFailedError as error:
                if min(error.failed) < len(puts):
                    raise
                for number in {owners[at] for at in error.failed}:
                    reservations[number].look()
            else:
                return
        raise StorageBusyError("The usage table is too busy.")
