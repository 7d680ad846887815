"""Virtual time, which advances only when all threads wait; one thread runs at a time."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Lock, Thread
from typing import Any, Self

Work = Callable[[], object]


class VirtualTime:
    """Runs tasks, each in a thread, one at a time: the one that is due next.

    A task that waits for anything but `sleep` and `gather` stops all of them. A thread
    whose task has ended runs the next one that begins: a new thread costs more than a switch.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """In seconds."""
        self._due: list[tuple[float, int, Lock | Work]] = []
        """Locks of waiting threads, and tasks that no thread has yet."""
        self._numbers = count()
        self._idle: list[tuple[Lock, list[Work]]] = []
        """Threads without a task: the lock that each waits for, and where it finds a task."""
        self._end = Lock()
        self._failures: list[BaseException] = []
        self._until = math.inf

    def start(self, work: Work, *, after: float = 0.0) -> None:
        """Start a new task in `after` seconds."""
        heapq.heappush(self._due, (self.now + after, next(self._numbers), work))

    def run(self, *, until: float = math.inf) -> None:
        """Return when all tasks have ended or wait for later; raise what one of them raised."""
        self._until = until
        self._end.acquire()
        self._wake_next()
        with self._end:
            while self._idle:
                self._idle.pop()[0].release()  # without a task, so that the thread ends
            if self._failures:
                raise self._failures[0]

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, while other tasks run."""
        at = self.now + seconds
        if at <= self._until and not (self._due and self._due[0][0] <= at) and not self._failures:
            self.now = at  # nothing is due before
            return
        self._wait_for(self._slot(at))

    def gather(self, works: Sequence[Work]) -> list[Any]:
        """Run callables as tasks, wait for all, and return their results.

        Raises what the first of them raised, in their order.
        """
        results: list[Any] = [None] * len(works)
        errors: dict[int, BaseException] = {}
        all_done = Lock()
        all_done.acquire()
        running = len(works)

        def note(index: int, work: Work) -> None:
            nonlocal running
            try:
                results[index] = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised below
                errors[index] = error
            running -= 1
            if not running:
                self._release_at(all_done, self.now)

        for index, work in enumerate(works):
            self.start(partial(note, index, work))
        if works:
            self._wait_for(all_done)
        if errors:
            raise errors[min(errors)]
        return results

    def _slot(self, at: float) -> Lock:
        """Make a lock that is released at `at`."""
        slot = Lock()
        slot.acquire()
        self._release_at(slot, at)
        return slot

    def _release_at(self, slot: Lock, at: float) -> None:
        """Release a lock at `at`. Those of the same time are released in the order of calls."""
        heapq.heappush(self._due, (at, next(self._numbers), slot))

    def _wait_for(self, slot: Lock) -> None:
        self._wake_next()
        slot.acquire()

    def _wake_next(self) -> None:
        """Wake the task that is due next, or `run` when there is none or one has failed."""
        due = self._next()
        if due is None:
            with suppress(RuntimeError):  # tasks that end after a failure
                self._end.release()
        elif callable(due):
            self._hand_over(due)
        else:
            due.release()

    def _next(self) -> "Lock | Work | None":
        if self._failures or not self._due or self._due[0][0] > self._until:
            return None
        self.now, _, due = heapq.heappop(self._due)
        return due

    def _hand_over(self, work: Work) -> None:
        """Have a thread run a task: an idle one, or a new one."""
        if self._idle:
            slot, tasks = self._idle.pop()
            tasks.append(work)
            slot.release()
        else:
            Thread(target=self._run_all, args=(work,), daemon=True).start()

    def _run_all(self, first: Work) -> None:
        """Run tasks in this thread, until `run` ends it."""
        tasks = [first]
        while tasks:
            try:
                tasks.pop()()
            except BaseException as error:  # noqa: BLE001 - whatever it is, run raises it
                self._failures.append(error)
            due = self._next()
            if callable(due):
                tasks.append(due)
                continue
            slot = Lock()
            slot.acquire()
            self._idle.append((slot, tasks))
            if due is None:
                with suppress(RuntimeError):
                    self._end.release()
            else:
                due.release()
            slot.acquire()


class Pool:
    """The used part of a ThreadPoolExecutor, in virtual time."""

    def __init__(
        self,
        time: VirtualTime,
        max_workers: int | None = None,
        thread_name_prefix: str = "",  # noqa: ARG002 - the executor's
    ) -> None:
        self._time, self._max_workers = time, max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """Run `work` for each of the arguments, as many at the same time as there are workers."""
        works = [partial(work, *each) for each in zip(*arguments, strict=True)]
        results: list[Any] = [None] * len(works)
        waiting = iter(enumerate(works))

        def run_some() -> None:
            for index, one in waiting:
                results[index] = one()

        workers = min(len(works), self._max_workers or len(works))
        self._time.gather([run_some] * workers)
        return iter(results)
