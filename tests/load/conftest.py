"""The stack of the e2e tests, whose upstream counts, for tests that take minutes."""

from collections.abc import Iterator

import pytest

from local.environment import ROOT
from local.stack import Stack, running
from tests.e2e.conftest import operator
from tests.support.servers.counting_sd3 import CountingSd3, counting

__all__ = ["operator"]


@pytest.fixture(scope="session")
def upstream() -> Iterator[CountingSd3]:
    """Stand before the model server, which refuses more calls at once than a few."""
    with counting("") as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, upstream: CountingSd3) -> Iterator[Stack]:
    (ROOT / ".local").mkdir(exist_ok=True)
    state = tmp_path_factory.mktemp("stack")
    parameters = {"UpstreamUrl": upstream.url}
    with running(
        state, edge_port=0, model_port=0, report=lambda _: None, parameters=parameters
    ) as stack:
        upstream.upstream_url = stack.upstream_url
        yield stack
