"""What the simulations read of template.yaml."""

import pytest

from benchmarks import deployed


def test_tables_have_the_keys_of_the_template() -> None:
    assert deployed.table("JobsTable").key == ("id",)
    assert deployed.table("UsageTable").key == ("client_id", "day")
    assert set(deployed.table("JobsTable").indexes) == {"by_client", "failed_by_day", "waiting"}


def test_the_readers_of_the_stream_are_those_of_the_template() -> None:
    readers = {reader.function: reader for reader in deployed.stream_readers()}
    assert "notifications" in readers
    assert readers["notifications"].is_partial
    assert "succeeded" in readers["notifications"].patterns[0]
    for reader in readers.values():
        assert reader.batch_size >= 10
        assert deployed.seconds_of(reader.function) > 0


def test_the_queue_outlives_its_worker() -> None:
    queue = deployed.job_queue()
    assert queue.visibility_seconds == 6 * deployed.seconds_of("worker")
    assert queue.most_receives > 1


def test_a_function_that_is_not_deployed_has_no_timeout() -> None:
    with pytest.raises(LookupError):
        deployed.seconds_of("nothing")
