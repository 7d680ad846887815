"""The simulated fleets: what the vendor counts, and that a run is a run."""

from collections.abc import Callable

import pytest

from benchmarks import fleet
from benchmarks.drain import Work, World, drain
from benchmarks.drain_sides import naive_work, our_work
from benchmarks.table import Note, line
from benchmarks.vendor import BLOCK_SECONDS, RATE, Vendor


def throttled_calls(vendor: Vendor, *, calls: int, at: float) -> int:
    return [vendor.admits(at) for _ in range(calls)].count(False)


def test_a_vendor_throttles_an_excess_and_then_all_calls_for_a_while() -> None:
    vendor = Vendor(is_harsh=False)
    assert throttled_calls(vendor, calls=100, at=0) == 0
    assert throttled_calls(vendor, calls=51, at=9.9) == 1
    assert throttled_calls(vendor, calls=1, at=9.9 + BLOCK_SECONDS - 0.1) == 1
    assert throttled_calls(vendor, calls=150, at=9.9 + BLOCK_SECONDS) == 0
    assert (vendor.generated, vendor.throttled) == (300, 2)
    assert vendor.share_throttled == 2 / 302


@pytest.mark.parametrize(("is_harsh", "rejected"), [(True, 150), (False, 0)])
def test_a_harsh_vendor_counts_throttled_calls(is_harsh: bool, rejected: int) -> None:
    vendor = Vendor(is_harsh=is_harsh)
    throttled_calls(vendor, calls=151, at=0)
    assert throttled_calls(vendor, calls=150, at=BLOCK_SECONDS - 1) == 150
    assert throttled_calls(vendor, calls=150, at=BLOCK_SECONDS + 1) == rejected


def test_what_is_used_is_of_the_time_from_the_first_call_to_the_last() -> None:
    vendor = Vendor(is_harsh=True)
    for second in range(11):
        vendor.admits(100 + second)
    assert vendor.share_used == 11 / (10 * RATE.calls / RATE.seconds)


@pytest.mark.parametrize("make_work", [our_work, naive_work])
def test_a_run_is_the_same_again_by_its_seed(make_work: Callable[[World], Work]) -> None:
    def run(seed: int) -> tuple[float, int, int]:
        world = drain(make_work, [3] * 60, workers=20, is_harsh=False, seed=seed)
        return world.time.now, world.vendor.throttled, world.limiter.writes

    assert run(1) == run(1) != run(2)


def test_naive_workers_run_into_the_block_and_ours_do_not() -> None:
    ours, naive = (
        drain(make_work, [1] * 200, workers=200, is_harsh=True, seed=1)
        for make_work in (our_work, naive_work)
    )
    assert [world.vendor.generated for world in (ours, naive)] == [200, 200]
    assert ours.vendor.throttled == 0
    assert naive.vendor.throttled > 50
    assert naive.time.now > BLOCK_SECONDS > ours.time.now


def test_the_rows_judge_our_worst_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "FLEETS", ((100, fleet.ONE),))
    monkeypatch.setattr(fleet, "IMAGES", 200)
    monkeypatch.setattr(fleet, "USED_AIM", 1.1)
    _, row, used, rejected, _ = fleet.measure(1)
    assert "ours" not in line(row)
    assert isinstance(used, Note)
    assert used.text.endswith("missed")
    assert line(rejected).endswith("met")
