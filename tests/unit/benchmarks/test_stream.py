"""A stream's readers get every record at least once, and those of one item in their order."""

import json
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from benchmarks.deployed import StreamReader
from benchmarks.stream import GivenUpError, Reader, Stream
from benchmarks.timed_dynamodb import Change
from benchmarks.virtual_time import VirtualTime
from benchmarks.wire import to_values, to_wire

SETTINGS = StreamReader(
    "f", 10, window_seconds=0, patterns=(), most_seconds=90, parallel=1, is_partial=True
)


class Consumer:
    """A function that remembers what it was given, and fails as it is told."""

    def __init__(self, fails: Callable[[list[str]], Any] = lambda _: None) -> None:
        self.batches: list[list[tuple[str, int]]] = []
        self._fails = fails

    def __call__(self, event: dict[str, Any]) -> Any:
        records = event["Records"]
        images = [to_values(record["dynamodb"]["NewImage"]) for record in records]
        self.batches.append([(image["id"], image["n"]) for image in images])
        return self._fails([record["dynamodb"]["SequenceNumber"] for record in records])

    def versions(self) -> dict[str, list[int]]:
        """Return what was seen of each item, in the order of the calls."""
        seen: dict[str, list[int]] = defaultdict(list)
        for batch in self.batches:
            for item, version in batch:
                seen[item].append(version)
        return seen


def change(item: str, version: int) -> Change:
    before = to_wire({"id": item, "n": version - 1}) if version else None
    return Change(("t", item), before, to_wire({"id": item, "n": version}))


def consume(
    consumer: Consumer,
    *,
    items: int = 20,
    versions: int = 5,
    repeated: float = 0.0,
    settings: StreamReader = SETTINGS,
) -> Reader:
    """Have items written at random times, and all of it read."""
    time, random = VirtualTime(), Random(1)  # noqa: S311 - nothing secret
    stream = Stream(time)
    reader = Reader(stream, settings, consumer, random, repeated=repeated)

    def write(item: str) -> None:
        for version in range(versions):
            time.sleep(random.random())
            stream.add(change(item, version))

    for number in range(items):
        time.start(lambda item=f"item-{number}": write(item))  # type: ignore[misc] # bound
    time.run()
    return reader


def test_every_record_is_processed_once_in_order_and_in_batches_of_the_size() -> None:
    consumer = Consumer()
    reader = consume(consumer)
    assert consumer.versions() == {f"item-{number}": [0, 1, 2, 3, 4] for number in range(20)}
    assert max(map(len, consumer.batches)) <= SETTINGS.batch_size
    assert len(reader.lags) == 100
    assert min(reader.lags) > 0


def test_a_window_makes_few_large_batches() -> None:
    small, large = Consumer(), Consumer()
    consume(small)
    consume(large, settings=SETTINGS._replace(window_seconds=1))
    assert len(large.batches) < len(small.batches) / 2


def test_batches_that_were_processed_come_again_and_no_record_is_missing() -> None:
    consumer = Consumer()
    reader = consume(consumer, repeated=0.3)
    assert reader.counts["repeated"] > 3
    for seen in consumer.versions().values():
        assert list(dict.fromkeys(seen)) == [0, 1, 2, 3, 4], "first seen in order"
    assert any(len(seen) > 5 for seen in consumer.versions().values())


def failing_once() -> Callable[[list[str]], Any]:
    """Fail at every record the first time that it is in a batch, naming it."""
    failed: set[str] = set()

    def fails(numbers: list[str]) -> Any:
        for number in numbers:
            if number not in failed:
                failed.add(number)
                return {"batchItemFailures": [{"itemIdentifier": number}]}
        return {"batchItemFailures": []}

    return fails


def test_a_batch_comes_again_from_the_record_on_that_has_failed() -> None:
    consumer = Consumer(failing_once())
    consume(consumer, items=3)
    for seen in consumer.versions().values():
        assert list(dict.fromkeys(seen)) == [0, 1, 2, 3, 4]
        assert all(seen.count(version) >= 2 for version in range(5)), "each has failed once"


def test_after_an_exception_the_whole_batch_comes_again() -> None:
    left = [1, 1]

    def fails(_: list[str]) -> None:
        if left:
            left.pop()
            raise LookupError

    consumer = Consumer(fails)
    reader = consume(consumer, items=1)
    assert reader.counts["failures"] == 2
    assert [batch[0] for batch in consumer.batches[:3]] == [("item-0", 0)] * 3
    assert list(dict.fromkeys(consumer.versions()["item-0"])) == [0, 1, 2, 3, 4]


def test_a_function_that_names_no_record_cannot_fail_in_part() -> None:
    consumer = Consumer(failing_once())
    reader = consume(consumer, settings=SETTINGS._replace(is_partial=False))
    assert reader.counts["failures"] == 0


def test_a_batch_that_always_fails_ends_the_run() -> None:
    def fails(_: list[str]) -> None:
        raise LookupError

    with pytest.raises(GivenUpError):
        consume(Consumer(fails))


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ({"dynamodb": {"NewImage": {"id": {"S": ["item-1", "item-3"]}}}}, {"item-1", "item-3"}),
        ({"dynamodb": {"NewImage": {"id": {"S": [{"exists": True}]}}}}, {"item-0", "item-1"}),
        ({"dynamodb": {"NewImage": {"no": {"S": [{"exists": True}]}}}}, set()),
        ({"eventName": ["REMOVE"]}, set()),
    ],
)
def test_a_filter_leaves_out_what_does_not_match(pattern: Any, taken: set[str]) -> None:
    consumer = Consumer()
    consume(consumer, settings=SETTINGS._replace(patterns=(json.dumps(pattern),)))
    seen = set(consumer.versions())
    assert taken <= seen
    assert bool(seen) is bool(taken)


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [(None, {"n": 1}, "INSERT"), ({"n": 1}, {"n": 2}, "MODIFY"), ({"n": 1}, None, "REMOVE")],
)
def test_a_record_has_the_item_before_and_after(before: Any, after: Any, name: str) -> None:
    seen: list[Any] = []
    time = VirtualTime()
    stream = Stream(time)
    Reader(stream, SETTINGS, lambda event: seen.extend(event["Records"]), Random(1))  # noqa: S311 - nothing secret
    stream.add(Change(("t", "a"), before and to_wire(before), after and to_wire(after)))
    time.run()
    [record] = seen
    assert record["eventName"] == name
    images = [record["dynamodb"].get(image) for image in ("OldImage", "NewImage")]
    assert images == [before and to_wire(before), after and to_wire(after)]
