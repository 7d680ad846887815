"""Virtual time: tasks run one at a time, in the order of their moments, and nobody really waits."""

import threading

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


def test_a_task_can_begin_later() -> None:
    time = VirtualTime()
    seen: list[float] = []
    time.start(lambda: seen.append(time.now), after=5)
    time.start(lambda: seen.append(time.now))
    time.run()
    assert seen == [0, 5]


def test_a_run_until_a_moment_can_go_on() -> None:
    time = VirtualTime()
    seen: list[float] = []

    def task() -> None:
        for _ in range(3):
            time.sleep(1)
            seen.append(time.now)

    time.start(task)
    time.run(until=1.5)
    assert seen == [1]
    time.run()
    assert seen == [1, 2, 3]


def test_a_gathered_error_is_raised_when_all_have_ended() -> None:
    time = VirtualTime()
    ended: list[float] = []

    def fail(wait: float, error: Exception) -> None:
        time.sleep(wait)
        ended.append(wait)
        raise error

    def task() -> None:
        with pytest.raises(LookupError):
            time.gather([lambda: fail(3, LookupError()), lambda: fail(1, ValueError())])
        assert ended == [1, 3]
        assert time.gather([]) == []

    time.start(task)
    time.run()
    assert time.now == 3


def test_a_pool_has_as_many_workers_as_it_says() -> None:
    time = VirtualTime()

    def work(wait: float) -> float:
        time.sleep(wait)
        return wait

    def task() -> None:
        with Pool(time, 2) as pool:
            assert list(pool.map(work, (4, 1, 2, 3))) == [4, 1, 2, 3]

    time.start(task)
    time.run()
    assert time.now == 6


def test_threads_end_with_the_run() -> None:
    before = threading.active_count()
    time = VirtualTime()
    for number in range(20):
        time.start(lambda number=number: time.sleep(number))  # type: ignore[misc] # bound
    time.run()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and threading.active_count() > before:
            thread.join(1)
    assert threading.active_count() <= before
