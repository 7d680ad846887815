"""The table shows for each row whether its aim was met."""

import pytest

from benchmarks.table import HEAD, Row, line


@pytest.mark.parametrize(
    ("ours", "aim", "verdict"),
    [(50.0, 0.5, "met"), (51.0, 0.5, "missed"), (51.0, None, "")],
)
def test_an_aim_is_the_largest_ratio_that_is_good_enough(
    ours: float, aim: float | None, verdict: str
) -> None:
    assert Row("own time", ours, 100.0, "ms", aim).verdict == verdict


def test_a_line_fits_under_the_head() -> None:
    text = line(Row("own time", 50.0, 100.0, "ms", 0.5))
    assert text.split() == ["own", "time", "50.0", "100.0", "ms", "0.50", "<=", "0.50", "met"]
    assert text.index("<= 0.50") + len("<= 0.50") == len(HEAD)
