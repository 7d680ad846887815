"""Runs at the same time, in processes."""

from benchmarks.parallel import in_parallel


def test_results_come_in_the_order_of_the_arguments() -> None:
    assert list(in_parallel(str, [3, 1, 2])) == ["3", "1", "2"]
