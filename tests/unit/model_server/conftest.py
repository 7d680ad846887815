"""One server with the sketch engine, for the tests that change nothing about it."""

from collections.abc import Iterator

import pytest

from tests.unit.model_server.serving import Client, running


@pytest.fixture(scope="session")
def sketch() -> Iterator[Client]:
    """A server as it starts by default."""
    with running() as client:
        yield client
