"""The indexes of the jobs table. They have keys only, and several partition keys for one name.

One partition key takes about 1000 writes a second. DynamoDB refuses a write to the table when an
index cannot follow. So the jobs of one name (a client, or a day) are spread over SHARDS partition
keys, by the hash of their ids. A reader reads all shards of a name, and merges them.
"""

import heapq
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sd3.adapters.dynamodb.table import Item, Table, to_item

SHARDS: Final = 8
"""At 2000 new jobs a second of one client a shard takes 250 writes a second, and 500 if every job
is deleted too: half of what it can take. Fewer would do once each shard has a partition to itself,
but a new index has about 4 partitions. Of 8 shards more than 4, which are 1000 writes a second, lie
in one partition in 1 of 9 cases. Of 4 shards 2 or more do so in 9 of 10 cases. More shards make
every list dearer, since it has a query for each. The number may grow: with a smaller one, lists
would lack the jobs of the shards that are read no more."""

KEYS_IN_A_QUERY: Final = 32
"""DynamoDB charges a query for 4 KB at least, and so many keys fit. A key has 94 bytes and the
client's id. A page of 100 jobs needs 12 or 13 keys of a shard, and hardly ever a second query."""

_EARLIEST: Final = "0"
_LATEST: Final = "~"
"""They sort before and after every time in ISO 8601."""


class IndexKey(NamedTuple):
    """Where an index has a job. Keys are ordered by time, then by id."""

    time: str
    id: str
    shard: str


class ShardedIndex(NamedTuple):
    """An index's name, and the attributes that are its partition key and its sort key."""

    name: str
    shard: str
    time: str

    def key_of(self, item: Item) -> IndexKey | None:
        """Read the key of an item of the index or the table; None if the index has no such item."""
        if self.shard not in item:
            return None
        return IndexKey(item[self.time]["S"], item["id"]["S"], item[self.shard]["S"])


BY_CLIENT: Final = ShardedIndex("by_client", "client_shard", "created_at")
"""The jobs of a client, by the time of their creation."""

FAILED_BY_DAY: Final = ShardedIndex("failed_by_day", "failed_shard", "completed_at")
"""The failed jobs of a day (UTC, ISO), by the time at which they ended."""

WAITING: Final = ShardedIndex("waiting", "waiting_shard", "waiting_since")
"""The jobs of a lane that wait, by the time since which they do."""


def shard_of(name: str, job_id: str) -> str:
    """Return the partition key of a job among those of a name. No write of the job changes it."""
    return _shard(name, sha256(job_id.encode()).digest()[0] % SHARDS)


def _shard(name: str, number: int) -> str:
    return f"{name}#{number}"


class IndexReader:
    """Reads keys from the indexes of the jobs table, which are eventually consistent."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._pool = ThreadPoolExecutor(SHARDS, thread_name_prefix="shards")

    def keys(
        self,
        index: ShardedIndex,
        name: str,
        *,
        since: str = _EARLIEST,
        until: str = _LATEST,
        newest_first: bool,
    ) -> Iterator[IndexKey]:
        """Read the keys of a name in order, from `since` to `until`, both included.

        The first keys of all shards are read at the same time, and more of a shard only when they
        are needed. Raises StorageError, also while the keys are iterated over.
        """
        queries = [
            {
                **_query(index, name, number, since=since, until=until),
                "ScanIndexForward": not newest_first,
                "Limit": KEYS_IN_A_QUERY,
            }
            for number in range(SHARDS)
        ]
        first_replies = self._pool.map(lambda query: self._table.query(**query), queries)
        shards = [
            _ordered(self._keys_of_shard(index, query, reply), newest_first=newest_first)
            for query, reply in zip(queries, first_replies, strict=True)
        ]
        return heapq.merge(*shards, reverse=newest_first)

    def count(self, index: ShardedIndex, name: str, *, since: str, until: str, most: int) -> int:
        """Count the keys of a name from `since` to `until`, both included, up to `most`.

        It reads twice as many keys at the most: each shard in parts that make up `most` together.
        Raises StorageError.
        """
        queries: list[dict[str, Any]] = [
            {
                **_query(index, name, number, since=since, until=until),
                "Select": "COUNT",
                "Limit": most // SHARDS + 1,
            }
            for number in range(SHARDS)
        ]
        found = 0
        while queries and found < most:
            replies = list(self._pool.map(lambda query: self._table.query(**query), queries))
            found += sum(reply["Count"] for reply in replies)
            queries = [
                query | {"ExclusiveStartKey": reply["LastEvaluatedKey"]}
                for query, reply in zip(queries, replies, strict=True)
                if "LastEvaluatedKey" in reply
            ]
        return min(found, most)

    def _keys_of_shard(
        self, index: ShardedIndex, query: Mapping[str, Any], reply: Mapping[str, Any]
    ) -> Iterator[IndexKey]:
        while True:
            yield from filter(None, map(index.key_of, reply["Items"]))
            if "LastEvaluatedKey" not in reply:
                return
            reply = self._table.query(**query, ExclusiveStartKey=reply["LastEvaluatedKey"])


def _query(
    index: ShardedIndex, name: str, number: int, *, since: str, until: str
) -> dict[str, Any]:
    """Build what every query of one shard has."""
    return {
        "IndexName": index.name,
        "KeyConditionExpression": f"{index.shard} = :shard"
        f" AND {index.time} BETWEEN :since AND :until",
        "ExpressionAttributeValues": to_item(
            {":shard": _shard(name, number), ":since": since, ":until": until}
        ),
    }


def _ordered(keys: Iterator[IndexKey], *, newest_first: bool) -> Iterator[IndexKey]:
    """Order the keys of one moment by their ids. DynamoDB returns them in no particular order."""
    for _, moment in groupby(keys, key=attrgetter("time")):
        yield from sorted(moment, reverse=newest_first)
