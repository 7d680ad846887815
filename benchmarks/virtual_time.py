"""Time that passes only when everybody waits: threads that run one at a time, by a seed."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Lock, Thread
from typing import Any, Self


class VirtualTime:
    """Runs tasks, each a thread of its own, of which one is awake: the one that is due next.

    A task that waits for anything else than `sleep` and `gather` stops all of them.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """In seconds."""
        self._due: list[tuple[float, int, Lock]] = []
        self._numbers = count()
        self._end = Lock()
        self._failures: list[BaseException] = []
        self._until = math.inf

    def start(self, work: Callable[[], object]) -> None:
        """Have a new task begin now."""
        slot = self._turn(self.now)

        def run() -> None:
            slot.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, run raises it
                self._failures.append(error)
            self._hand_over()

        Thread(target=run, daemon=True).start()

    def run(self, *, until: float = math.inf) -> None:
        """Return when all tasks have ended or wait for later; raise what one of them raised."""
        self._until = until
        self._end.acquire()
        self._hand_over()
        with self._end:
            if self._failures:
                raise self._failures[0]

    def sleep(self, seconds: float) -> None:
        """Wait so long: others run meanwhile."""
        slot = self._turn(self.now + seconds)
        self._hand_over()
        slot.acquire()

    def gather(self, works: Sequence[Callable[[], object]]) -> list[Any]:
        """Run these as tasks of their own, and wait for what they return."""
        done: dict[int, object] = {}
        all_done = Lock()
        all_done.acquire()

        def note(index: int, work: Callable[[], object]) -> None:
            done[index] = work()
            if len(done) == len(works):
                self._open(all_done, self.now)

        for index, work in enumerate(works):
            self.start(partial(note, index, work))
        self._hand_over()
        all_done.acquire()
        return [done[index] for index in range(len(works))]

    def _turn(self, at: float) -> Lock:
        """A lock that is held until `at`."""
        slot = Lock()
        slot.acquire()
        self._open(slot, at)
        return slot

    def _open(self, slot: Lock, at: float) -> None:
        """Those of one moment are opened in the order in which this was called."""
        heapq.heappush(self._due, (at, next(self._numbers), slot))

    def _hand_over(self) -> None:
        """Wake who is due next; nobody is when all have ended, or one has failed."""
        if self._due and self._due[0][0] <= self._until and not self._failures:
            self.now, _, slot = heapq.heappop(self._due)
            slot.release()
        else:
            with suppress(RuntimeError):  # the tasks after one that failed
                self._end.release()


class Pool:
    """What is used of a ThreadPoolExecutor, in virtual time."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """Run `work` for each of the arguments, all at once."""
        works = [partial(work, *each) for each in zip(*arguments, strict=True)]
        return iter(self._time.gather(works))
