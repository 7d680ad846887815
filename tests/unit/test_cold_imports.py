"""What functions import when they start cold."""

import os
import subprocess
import sys

import pytest

from tests.support.factories.template import ROOT


@pytest.mark.parametrize("function", ["dead_letters", "deliveries", "notifications", "worker"])
def test_powertools_batches_come_without_its_parser(function: str) -> None:
    """Powertools imports its parser, 100 ms of models, when it finds pydantic imported before."""
    path = os.pathsep.join(str(ROOT / each) for each in (f"functions/{function}", "layers/sd3"))
    parser = "aws_lambda_powertools.utilities.parser"
    subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", f"import app, sys; sys.exit({parser!r} in sys.modules)"],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
