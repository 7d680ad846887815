"""No test sees this machine's AWS account, or takes a proxy to what runs on this machine."""

import gc
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_account_and_no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            environment.setenv(name, os.devnull)
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, "127.0.0.1,localhost")
        yield


def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of each garbage collection, a seventh of all time."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `make fuzz`, `make test` and `make screenshots`."""
    parser.addoption(
        "--cases", type=int, help="random requests to each route, instead of the same few"
    )
    parser.addoption("--half", choices=["1", "2"], help="run this half of the tests of a stack")
    parser.addoption("--screenshots", metavar="FOLDER", help="write screenshots there")
