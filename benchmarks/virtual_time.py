"""Virtual time, which advances only when all threads wait; one thread runs at a time."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Lock, Thread
from typing import Any, Self


class VirtualTime:
    """Runs tasks, each in a thread, one at a time: the one that is due next.

    A task that waits for anything but `sleep` and `gather` stops all of them.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """In seconds."""
        self._due: list[tuple[float, int, Lock]] = []
        self._numbers = count()
        self._end = Lock()
        self._failures: list[BaseException] = []
        self._until = math.inf
        self._idle: list[_Worker] = []

    def start(self, work: Callable[[], object]) -> None:
        """Start a new task now."""
        worker = self._idle.pop() if self._idle else _Worker(self._end_of)
        worker.work = work
        self._release_at(worker.slot, self.now)

    def run(self, *, until: float = math.inf) -> None:
        """Return when all tasks have ended or wait for later; raise what one of them raised."""
        self._until = until
        self._end.acquire()
        self._wake_next()
        with self._end:
            while self._idle:
                self._idle.pop().slot.release()
            if self._failures:
                raise self._failures[0]

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, while other tasks run."""
        slot = self._slot(self.now + seconds)
        self._wake_next()
        slot.acquire()

    def gather(self, works: Sequence[Callable[[], object]]) -> list[Any]:
        """Run callables as tasks, and wait for their results."""
        done: dict[int, object] = {}
        all_done = Lock()
        all_done.acquire()

        def note(index: int, work: Callable[[], object]) -> None:
            done[index] = work()
            if len(done) == len(works):
                self._release_at(all_done, self.now)

        for index, work in enumerate(works):
            self.start(partial(note, index, work))
        self._wake_next()
        all_done.acquire()
        return [done[index] for index in range(len(works))]

    def _end_of(self, worker: "_Worker", failure: BaseException | None) -> None:
        if failure:
            self._failures.append(failure)
        worker.work = None
        self._idle.append(worker)
        self._wake_next()

    def _slot(self, at: float) -> Lock:
        """Make a lock that is released at `at`."""
        slot = Lock()
        slot.acquire()
        self._release_at(slot, at)
        return slot

    def _release_at(self, slot: Lock, at: float) -> None:
        """Release a lock at `at`. Those of the same time are released in the order of calls."""
        heapq.heappush(self._due, (at, next(self._numbers), slot))

    def _wake_next(self) -> None:
        """Wake the task that is due next, or `run` when all have ended or one has failed."""
        if self._due and self._due[0][0] <= self._until and not self._failures:
            self.now, _, slot = heapq.heappop(self._due)
            slot.release()
        else:
            with suppress(RuntimeError):  # tasks that end after a failure
                self._end.release()


class _Worker:
    """A thread that runs one task after the other: to start threads takes longer than to wait."""

    def __init__(self, end: Callable[["_Worker", BaseException | None], None]) -> None:
        self.work: Callable[[], object] | None = None
        """The next task; None to end the thread."""
        self.slot = Lock()
        """Is released when the task is due."""
        self.slot.acquire()
        self._end = end
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self.slot.acquire() and self.work:
            failure: BaseException | None = None
            try:
                self.work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, VirtualTime.run raises it
                failure = error
            self._end(self, failure)


class Pool:
    """The used part of a ThreadPoolExecutor, in virtual time."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """Run `work` for each of the arguments, concurrently."""
        works = [partial(work, *each) for each in zip(*arguments, strict=True)]
        return iter(self._time.gather(works))
