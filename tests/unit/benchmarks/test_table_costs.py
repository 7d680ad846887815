"""What jobs and lists take of the table: indexes are written seldom, pages do not grow."""

import pytest

from benchmarks.table_costs import LIVES, PROMPTS, ended_jobs, new_job, read_page, tables


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    ("life", "units"),
    [("at once", 1), ("queued", 3), ("failed", 2), ("at once, then deleted", 2)],
)
def test_indexes_are_written_when_a_job_comes_or_goes_however_long_its_prompt(
    life: str, units: int, prompt: str
) -> None:
    with tables() as (client, store):
        LIVES[life](store, new_job(prompt))
    assert client.units["index"] == units
    assert client.units["whole"] >= units * 3


def test_a_page_takes_the_same_of_few_jobs_and_of_many() -> None:
    few, many = (read_page(list(ended_jobs("1 KB", count)), 20) for count in (40, 400))
    assert few == many
    assert (few.queries, few.batches, few.units) == (8, 1, 8 / 2 + 20 / 2)
