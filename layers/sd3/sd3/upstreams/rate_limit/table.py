"""The rate limiters' table: an item or some for each upstream, changed by conditional writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.domain.generation import TaskOrigin
from sd3.upstreams.rate_limit.breaker import breakers_of
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    burst_until,
    is_idle,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PROBE_SECONDS: Final = 60
"""The time until the next caller may probe. It is longer than most calls."""

LEASE_SECONDS: Final = 320
"""A lease outlives the longest call, which is the worker's 300 s."""

_NUMBERS: Final = (
    "next_slot_at", "idle_since", "idle_until", "step_time", "step_measured_at"
)  # fmt: skip

_BREAKER: Final = "open_"
"""How the names of the circuit breakers' attributes begin."""


class ChangedError(Exception):
    """The item was not in the expected state; `state` is its actual state."""

    def __init__(self, state: LimiterState) -> None:
        super().__init__()
        self.state = state


@dataclass
class Update:
    """The parts of a conditional write. Its values are integers, maps of these, or sets of text."""

    sets: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    values: dict[str, int | dict[str, int] | set[str]] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of UpdateItem."""
        clauses = {"SET": self.sets, "REMOVE": self.removes, "ADD": self.adds}
        expression = " ".join(f"{verb} {', '.join(each)}" for verb, each in clauses.items() if each)
        arguments: dict[str, Any] = {"UpdateExpression": expression}
        if self.conditions:
            arguments["ConditionExpression"] = " AND ".join(self.conditions)
        if self.values:
            arguments["ExpressionAttributeValues"] = to_item(self.values)
        return arguments


class RateLimitTable:
    """The item of one upstream's rate limiter, or one of its items."""

    def __init__(self, client: "DynamoDBClient", table: str, name: str) -> None:
        self._client, self._table = client, table
        self.name = name

    def shard(self, number: int) -> "RateLimitTable":
        """Return another item of the same limiter; number 0 is this one."""
        name = f"{self.name}#{number}" if number else self.name
        return RateLimitTable(self._client, self._table, name)

    def read(self) -> LimiterState:
        """Read the state, which may be a moment old. Raises StorageError."""
        with storage_errors("The upstreams table could not be read."):
            reply = self._client.get_item(TableName=self._table, Key=to_item({"id": self.name}))
        return _state(reply.get("Item", {}))

    def update(self, update: Update) -> LimiterState:
        """Write an update; return the state before it.

        Raises StorageError, and ChangedError when the condition does not hold.
        """
        with storage_errors(
            "The upstreams table could not be used.",
            instead={"ConditionalCheckFailedException": _changed},
        ):
            reply = self._client.update_item(
                TableName=self._table,
                Key=to_item({"id": self.name}),
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **update.arguments(),
            )
        return _state(reply.get("Attributes", {}))


def acquire_update(
    state: LimiterState,
    bounds: RateBounds,
    count: int,
    *,
    now: int,
    latest: int,
    lease_holder: str,
    origin: TaskOrigin,
) -> Update:
    """Build the write that reserves slots until `latest`, on condition that `state` is current.

    `lease_holder` is the prefix of the leases' names where concurrency is bounded, else empty.
    """
    slot = bounds.slot
    update = Update()
    _pass_breakers(update, state, origin, now=now)
    if not is_idle(state, bounds, now):
        early = burst_until(state, bounds, now, idle=False)
        update.conditions += ["next_slot_at > :passed", "next_slot_at <= :last"]
        update.sets.append("next_slot_at = next_slot_at + :slots")
        last = max(latest, early) - (count - 1) * slot
        update.values |= {":passed": now - bounds.grace, ":last": last, ":slots": count * slot}
        if early > latest:
            update.conditions.append("idle_until = :idle_until")
            update.values[":idle_until"] = state.idle_until
    else:
        # The length of the idle time matters only to a caller that needs a burst.
        needs_idle_time = (count - 1) * slot > latest - now
        update.conditions.append("(attribute_not_exists(next_slot_at) OR next_slot_at <= :since)")
        update.sets.append("idle_since = if_not_exists(next_slot_at, :never)")
        update.sets += ["idle_until = :now", "next_slot_at = :next"]
        update.values |= {":never": 0, ":now": now, ":next": now + count * slot}
        update.values[":since"] = state.next_slot_at if needs_idle_time else now
    if lease_holder:
        names = [f"{lease_holder}{number}" for number in range(count)]
        _take_leases(update, state, names, room=(bounds.concurrency or 0) - count, now=now)
    return update


def _pass_breakers(update: Update, state: LimiterState, origin: TaskOrigin, *, now: int) -> None:
    """Let a call pass that finds the breakers closed, probes them, or is beside the probe.

    A retry is beside it: it says nothing about the upstream, and should not keep out a call that
    does.
    """
    for number, breaker in enumerate(breakers_of(origin)):
        until = state.breakers.get(breaker.until)
        if until is None:
            update.conditions.append(f"attribute_not_exists({breaker.until})")
        elif origin.is_retry:
            update.conditions.append(
                f"(attribute_not_exists({breaker.until}) OR {breaker.until} <= :now)"
            )
            update.values[":now"] = now
        else:
            update.conditions.append(f"{breaker.until} = :seen{number}")
            update.sets.append(f"{breaker.until} = :probe")
            update.values |= {
                f":seen{number}": until,
                ":probe": now + PROBE_SECONDS * MICROSECONDS,
            }


def _take_leases(
    update: Update, state: LimiterState, names: Sequence[str], *, room: int, now: int
) -> None:
    until = now + LEASE_SECONDS * MICROSECONDS
    if state.leases is None:
        update.conditions.append("attribute_not_exists(leases)")
        update.sets.append("leases = :leases")
        update.values[":leases"] = dict.fromkeys(names, until)
        return
    dead = state.expired_leases(now)
    for number, (name, was) in enumerate(dead.items()):
        update.conditions.append(f"leases.{name} = :dead{number}")
        update.values[f":dead{number}"] = was
        update.removes.append(f"leases.{name}")
    update.conditions += ["attribute_exists(leases)", "size(leases) <= :room"]
    update.values[":room"] = room + len(dead)
    update.sets += [f"leases.{name} = :until" for name in names]
    update.values[":until"] = until


def _changed(error: ClientError) -> ChangedError:
    return ChangedError(_state(cast("Item", error.response.get("Item", {}))))


def _state(item: Item) -> LimiterState:
    values = from_item(item)
    numbers = {name: values[name] for name in _NUMBERS if name in values}
    breakers = {name: value for name, value in values.items() if name.startswith(_BREAKER)}
    failed = frozenset(values.get("failed", ()))
    return LimiterState(**numbers, leases=values.get("leases"), failed=failed, breakers=breakers)
