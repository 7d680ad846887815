"""What template.yaml deploys, as far as simulations need it: tables, queues, and who reads them."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml  # type: ignore[import-untyped]

_TEMPLATE: Final = Path(__file__).resolve().parent.parent / "template.yaml"


class Index(NamedTuple):
    """An index: its partition key and its sort key, and what it has of an item."""

    key: tuple[str, ...]
    projected: frozenset[str] | None = None
    """The attributes beside the keys; None for all."""


class Table(NamedTuple):
    """A table: its partition key and, where it has one, its sort key."""

    key: tuple[str, ...]
    indexes: Mapping[str, Index] = {}


class StreamReader(NamedTuple):
    """A function that reads the stream of the jobs table, and how it gets the records."""

    function: str
    """The folder of the function."""
    batch_size: int
    window_seconds: float
    patterns: tuple[Any, ...]
    """Filters of records. No filter takes all."""
    most_seconds: float
    """How old a record gets before it is given up."""
    parallel: int
    """Batches of one shard that are processed at the same time."""
    is_partial: bool
    """Whether the function names the record from which on its batch is to be repeated."""


class JobQueue(NamedTuple):
    """The queue of the jobs."""

    visibility_seconds: int
    most_receives: int


@cache
def table(logical_id: str) -> Table:
    """Read a table by its name in the template, such as `JobsTable`."""
    properties = _resources()[logical_id]["Properties"]
    indexes = properties.get("GlobalSecondaryIndexes", ())
    return Table(
        _key(properties), {one["IndexName"]: Index(_key(one), _projected(one)) for one in indexes}
    )


@cache
def stream_readers() -> tuple[StreamReader, ...]:
    """Read who consumes the stream of the jobs table."""
    return tuple(_readers())


@cache
def job_queue() -> JobQueue:
    """Read the settings of the jobs' queue."""
    properties = _resources()["JobsQueue"]["Properties"]
    redrive = properties["RedrivePolicy"]
    return JobQueue(properties["VisibilityTimeout"], redrive["maxReceiveCount"])


@cache
def seconds_of(function: str) -> float:
    """Read the timeout of a function by its folder."""
    for resource in _resources().values():
        properties = resource.get("Properties", {})
        if properties.get("CodeUri") == f"functions/{function}":
            seconds: float = properties["Timeout"]
            return seconds
    raise LookupError(function)


def _readers() -> Iterator[StreamReader]:
    for resource in _resources().values():
        properties = resource.get("Properties", {})
        source = properties.get("EventSourceArn")
        if source != "JobsTable.StreamArn":
            continue
        function = _resources()[properties["FunctionName"].removesuffix(".Alias")]["Properties"]
        filters = properties.get("FilterCriteria", {}).get("Filters", ())
        yield StreamReader(
            function["CodeUri"].rpartition("/")[2],
            properties["BatchSize"],
            properties.get("MaximumBatchingWindowInSeconds", 0),
            tuple(one["Pattern"] for one in filters),
            properties["MaximumRecordAgeInSeconds"],
            properties.get("ParallelizationFactor", 1),
            "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", ()),
        )


@cache
def _resources() -> Any:
    return yaml.load(_TEMPLATE.read_text("utf-8"), _Loader)["Resources"]  # noqa: S506 - a safe one


class _Loader(yaml.CSafeLoader):  # type: ignore[misc] # the same
    """Reads `!Ref name` and the like as what they are followed by."""


def _without_tag(loader: _Loader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _without_tag)


def _key(properties: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = {one["KeyType"]: one["AttributeName"] for one in properties["KeySchema"]}
    return tuple(kinds[kind] for kind in ("HASH", "RANGE") if kind in kinds)


def _projected(index: Mapping[str, Any]) -> frozenset[str] | None:
    projection = index["Projection"]
    if projection["ProjectionType"] == "ALL":
        return None
    return frozenset(projection.get("NonKeyAttributes", ()))
