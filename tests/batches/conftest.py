"""A stack whose upstream takes no time, and whose consumer of batches dies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from local.environment import ROOT
from local.stack import Stack, running
from tests.support.functions import replaced
from tests.support.servers.instant_sd3 import InstantSd3, instant

SECONDS: Final = 60
"""The timeout of the consumer. Its queue gives a message out again after as long."""


@pytest.fixture(scope="session")
def upstream() -> Iterator[InstantSd3]:
    with instant() as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, upstream: InstantSd3) -> Iterator[Stack]:
    (ROOT / ".local").mkdir(exist_ok=True)
    state = tmp_path_factory.mktemp("stack")
    with running(
        state,
        edge_port=0,
        model_port=0,
        report=lambda _: None,
        parameters={"UpstreamUrl": upstream.url},
    ) as stack:
        yield stack


@pytest.fixture
def deaths(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """Let the consumer die, and provide the folder with a file for each death."""
    sqs, queue = stack.deployed.client("sqs"), stack.deployed.outputs()["BatchQueue"]
    with replaced(
        stack,
        "BatchLinesFunction",
        by="dying_batch_lines",
        folder="batch_lines",
        timeout=SECONDS,
        DEATHS=str(tmp_path),
    ):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(SECONDS)})
        yield tmp_path
