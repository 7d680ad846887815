"""Virtual time: tasks run one at a time, in the order of their moments, and nobody really waits."""

import pytest

from benchmarks.virtual_time import Pool, VirtualTime


def test_tasks_run_in_the_order_of_their_moments() -> None:
    time = VirtualTime()
    seen: list[tuple[float, str]] = []

    def task(name: str, *waits: float) -> None:
        for wait in waits:
            time.sleep(wait)
            seen.append((time.now, name))

    time.start(lambda: task("a", 3, 3))
    time.start(lambda: task("b", 1, 2, 1000))
    time.run()
    assert seen == [(1, "b"), (3, "a"), (3, "b"), (6, "a"), (1003, "b")]


def test_a_pool_maps_all_at_once_and_in_order() -> None:
    time = VirtualTime()
    done: list[list[float]] = []

    def work(wait: float, add: float) -> float:
        time.sleep(wait)
        return wait + add

    def task() -> None:
        with Pool(time) as pool:
            done.append(list(pool.map(work, (5, 2, 3), (0.5, 0.5, 0.5))))
        done.append([time.now])

    time.start(task)
    time.run()
    assert done == [[5.5, 2.5, 3.5], [5]]


def test_what_a_task_raises_ends_the_run() -> None:
    time = VirtualTime()

    def task() -> None:
        time.sleep(1)
        raise LookupError

    time.start(lambda: time.sleep(2))
    time.start(task)
    with pytest.raises(LookupError):
        time.run()
    assert time.now == 1


def test_nothing_to_do_is_done_at_once() -> None:
    VirtualTime().run()
