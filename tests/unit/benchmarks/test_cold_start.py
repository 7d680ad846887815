"""The rows of a cold start, and of sizes of memory, where a quota can and cannot be set."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks import cold_start, memory
from benchmarks.cold_start import Start
from benchmarks.cpu_quota import NoQuotaError
from benchmarks.sized_function import Done


@contextmanager
def fake_stage(**_: Any) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def no_quota(_: int) -> Iterator[None]:
    raise NoQuotaError("there are no control groups for CPU time")
    yield


@contextmanager
def fake_quota(_: int) -> Iterator[None]:
    yield None


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_start, "stage", fake_stage)
    monkeypatch.setattr(cold_start, "cpu_quota", fake_quota)
    monkeypatch.setattr(memory, "stage", fake_stage)


def test_the_sum_of_init_and_first_request_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = {False: Start(0.3, 0.7), True: Start(0.5, 0.1)}
    monkeypatch.setattr(
        cold_start, "_start", lambda _function, _environ, way, _move: starts[way.prepares]
    )
    rows = list(cold_start.measure(3))
    assert [row.text for row in rows[::4]] == ["0.60 of before; aim <= 0.70: met"] * 3
    names = [row.name.strip() for row in rows[1:4]]
    assert names[0] == "1000 ms = 300 init + 700 first request"
    assert names[-1] == "600 ms = 500 init + 100 first request"


def test_without_a_quota_no_figure_of_a_cold_start_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cold_start, "cpu_quota", no_quota)
    texts = [row.text for row in cold_start.measure(3)]
    assert texts == ["not measured: there are no control groups for CPU time"] * 3


def test_without_a_quota_no_figure_of_a_size_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cpu_quota", no_quota)
    monkeypatch.setattr(memory, "_worst_cases", lambda: iter(()))
    texts = [row.text for row in memory.measure(3)]
    assert texts[1::2] == ["not measured: there are no control groups for CPU time"] * 2


def test_a_size_costs_its_memory_while_the_function_works_and_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fixed:
        def do(self, images: int) -> Done:
            return Done(0.5 * images, 100 << 20)

    @contextmanager
    def sized(*_: Any) -> Iterator[Fixed]:
        yield Fixed()

    monkeypatch.setattr(memory, "_sized", sized)
    monkeypatch.setattr(memory, "_worst_cases", lambda: iter(()))
    _, smallest, *_ = memory.measure(1)
    assert " ".join(smallest.name.split()) == "512 MB, 0.29 CPU: 500 ms 2000 ms 8000 ms"
    gigabyte_seconds = [0.5 * 4.0, 0.5 * 5.5 / 4, 0.5 * 11.5 / 16]
    prices = " ".join(f"${1000 * each * 0.0000133334:.4f}" for each in gigabyte_seconds)
    assert smallest.text == f"100 MiB; {prices}"
