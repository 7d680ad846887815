"""Runs of simulations at the same time: a process for each core, which is tied to it.

The threads of virtual time hand over to each other. On one core that takes half of the time.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Iterator[Result]:
    """Yield the results in the order of the arguments. Both must be what can be pickled."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    spawn = multiprocessing.get_context("spawn")
    free = spawn.SimpleQueue()
    for core in cores:
        free.put(core)
    with ProcessPoolExecutor(
        len(cores), mp_context=spawn, initializer=_tie, initargs=(free,)
    ) as pool:
        yield from pool.map(work, arguments)


def _tie(free: "SimpleQueue[int]") -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {free.get()})
