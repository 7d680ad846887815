"""What a job's calls cost, and whether that is what is called."""

import pytest

from benchmarks.prices import MEMORY_MB, calls_price, compute_price
from benchmarks.stage import MALLOC
from benchmarks.table import Note, line
from tests.support.factories.template import source


def test_calls_and_units_are_added_up_and_indexes_are_written_too() -> None:
    units = {"write": 2, "index": 2, "read": 1}
    price = calls_price({"sqs SendMessage": 2, "s3 PutObject": 1}, units)
    assert price == pytest.approx(2 * 0.4e-6 + 5e-6 + 2 * 2 * 0.625e-6 + 0.125e-6)


def test_a_call_without_a_price_is_not_taken_for_free() -> None:
    with pytest.raises(KeyError):
        calls_price({"dynamodb Scan": 1}, {})


def test_work_is_paid_by_the_cpu_and_waiting_for_the_upstream_by_the_memory() -> None:
    own, waiting = compute_price(0.5), compute_price(0.5, waiting="generate")
    assert own == pytest.approx(0.5 * 1769 / 1024 * 0.0000133334)
    assert waiting - own == pytest.approx(3.5 * 768 / 1024 * 0.0000133334)


def test_the_memory_is_what_the_template_gives_the_functions() -> None:
    default = source()["Globals"]["Function"]["MemorySize"]
    for name, memory in MEMORY_MB.items():
        properties = source()["Resources"][f"{name.capitalize()}Function"]["Properties"]
        assert properties.get("MemorySize", default) == memory
    variables = source()["Resources"]["GenerateFunction"]["Properties"]["Environment"]["Variables"]
    assert MALLOC.items() <= variables.items()


def test_a_note_stands_behind_its_name() -> None:
    assert line(Note("a job", "3 calls")) == f"{'a job':<50}    3 calls"
