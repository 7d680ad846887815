"""The stream of a table in virtual time, and the functions that Lambda calls with its records."""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from random import Random
from typing import Any, Final
from zlib import crc32

from benchmarks.deployed import StreamReader
from benchmarks.timed_dynamodb import Change
from benchmarks.virtual_time import VirtualTime
from benchmarks.wire import Item

SHARDS: Final = 4
DELAY_SECONDS: Final = 0.1
"""Until a write can be read from the stream."""
POLL_SECONDS: Final = 0.25
"""Lambda asks an idle shard four times a second."""
MOST_WAIT_SECONDS: Final = 60
"""The longest wait before a batch is repeated."""

Handler = Callable[[dict[str, Any]], Any]
"""A function: it gets an event with records. It raises, or returns what Lambda reads, or None."""


class GivenUpError(Exception):
    """A batch was repeated for too long. Lambda would set it aside, and wait for an operator."""


@dataclass
class Stream:
    """The changes of a table as records, which go to all of its readers."""

    time: VirtualTime
    readers: list["Reader"] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add(self, change: Change) -> None:
        """Make a record of a change. TimedDynamoDB.watch takes this."""
        record = self._record(change)
        place = crc32("/".join(change.address[1:]).encode())
        for reader in self.readers:
            reader.take(record, place)

    def _record(self, change: Change) -> dict[str, Any]:
        name = {(True, False): "INSERT", (False, True): "REMOVE"}.get(
            (change.before is None, change.after is None), "MODIFY"
        )
        images: dict[str, Item | None] = {"NewImage": change.after, "OldImage": change.before}
        number = f"{next(self._numbers):021}"
        return {
            "eventID": number,
            "eventName": name,
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "ApproximateCreationDateTime": self.time.now,
                "SequenceNumber": number,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
                **{key: image for key, image in images.items() if image is not None},
            },
        }


class Reader:
    """A function that reads a stream: each shard in order, and every batch at least once.

    A batch that failed comes again, whole, or from the record on that the function names; then it
    can be divided in another way. A share of the batches that did not fail comes again as well.
    """

    def __init__(
        self,
        stream: Stream,
        settings: StreamReader,
        handler: Handler,
        random: Random,
        *,
        repeated: float = 0.0,
    ) -> None:
        """Read a stream from now on; `repeated` is the share of batches that come again."""
        self.counts: Counter[str] = Counter()
        """Batches, batches that came again although nothing failed, and failures."""
        self.lags: list[float] = []
        """How long after its write each record was processed, in seconds."""
        self._time, self._settings, self._handler = stream.time, settings, handler
        self._random, self._repeated = random, repeated
        patterns = settings.patterns
        self._patterns = [json.loads(one) if isinstance(one, str) else one for one in patterns]
        self._lanes: list[deque[dict[str, Any]]]
        self._lanes = [deque() for _ in range(SHARDS * settings.parallel)]
        self._awake: set[int] = set()
        stream.readers.append(self)

    def take(self, record: dict[str, Any], place: int) -> None:
        """Take a new record; those of one place stay in their order."""
        if self._patterns and not any(_matches(one, record) for one in self._patterns):
            return
        lane = place % len(self._lanes)
        self._lanes[lane].append(record)
        if lane not in self._awake:
            self._awake.add(lane)
            after = DELAY_SECONDS + self._random.random() * POLL_SECONDS
            self._time.start(partial(self._read, lane), after=after)

    def _read(self, lane: int) -> None:
        """Process the records of a lane until there are no more."""
        waiting, failed = self._lanes[lane], 0
        while waiting:
            batch = self._batch(waiting, is_again=failed > 0)
            done = self._process(batch)
            if done < len(batch):
                failed += 1
                self._wait(failed, batch[0]["dynamodb"]["ApproximateCreationDateTime"])
            else:
                failed = 0
                if self._random.random() < self._repeated:
                    self.counts["repeated"] += 1
                    done = self._random.randrange(len(batch))
            for _ in range(done):
                waiting.popleft()
        self._awake.discard(lane)

    def _batch(
        self, waiting: Sequence[dict[str, Any]], *, is_again: bool
    ) -> Sequence[dict[str, Any]]:
        """Return the next records, after a wait for more of them if the function has a window."""
        size = self._settings.batch_size
        if is_again:
            size = self._random.randint(1, size)
        elif len(waiting) < size and self._settings.window_seconds:
            self._time.sleep(self._settings.window_seconds)
        return list(islice(waiting, size))

    def _process(self, records: Sequence[dict[str, Any]]) -> int:
        """Call the function; return how many of the records it has processed."""
        self.counts["batches"] += 1
        try:
            reply = self._handler({"Records": records})
        except Exception:  # noqa: BLE001 - Lambda repeats after whatever a function raises
            self.counts["failures"] += 1
            return 0
        failures = reply["batchItemFailures"] if reply and self._settings.is_partial else ()
        failed = {one["itemIdentifier"] for one in failures}
        self.counts["failures"] += bool(failed)
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        done = min((numbers.index(one) for one in failed), default=len(records))
        for record in records[:done]:
            self.lags.append(self._time.now - record["dynamodb"]["ApproximateCreationDateTime"])
        return done

    def _wait(self, failed: int, written_at: float) -> None:
        if self._time.now - written_at > self._settings.most_seconds:
            raise GivenUpError(self._settings.function)
        longest = min(2.0**failed, MOST_WAIT_SECONDS)
        self._time.sleep(self._random.uniform(longest / 2, longest))


def _matches(pattern: Any, value: Any) -> bool:
    """Return whether a value matches a filter pattern of Lambda: text, and whether it is there."""
    if isinstance(pattern, Mapping):
        found = value if isinstance(value, Mapping) else {}
        return all(_matches(wanted, found.get(name)) for name, wanted in pattern.items())
    for wanted in pattern:
        if isinstance(wanted, Mapping) and wanted["exists"] is (value is not None):
            return True
        if isinstance(wanted, str) and wanted == value:
            return True
    return False
