"""The programs of examples/, run as somebody who has copied them, against the deployed stack."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
import requests
from PIL import Image

from local.environment import ROOT
from local.stack import Stack
from tests.support.servers.flaky_gateway import Fault, FlakyGateway

EXAMPLES: Final = ROOT / "examples"
PRICE_MICROS: Final = 30_000
"""Of one image."""


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have tenacity wait for nothing; return the seconds that it would have waited."""
    seconds: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=seconds.append))
    return seconds


def test_an_order_is_paid_once_whatever_breaks_and_another_is_refused_at_once(
    stack: Stack,
    http: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    slept: list[float],
    tmp_path: Path,
) -> None:
    budget = {"daily_budget_micros": PRICE_MICROS}
    token = stack.deployed.tokens().issue("orders", limits=budget)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SD3_API_TOKEN", token)

    def run(order: str) -> None:
        monkeypatch.setattr(sys, "argv", ["service_with_retries.py", order, "a fox"])
        runpy.run_path(str(EXAMPLES / "service_with_retries.py"), run_name="__main__")

    with FlakyGateway(stack.api_url, *Fault) as gateway:
        monkeypatch.setenv("SD3_API_URL", gateway.api_url)
        run("order-7")
        assert slept[0] >= 7  # as long as the first answer said
        assert len(slept) == len(Fault)
        assert {call.headers["idempotency-key"] for call in gateway.requests} == {"order-7"}
        with Image.open(tmp_path / "order-7-0.jpg") as image:
            assert image.size == (1024, 1024)
        run("order-7")  # as after a crash
        calls = len(gateway.requests)
        with pytest.raises(SystemExit, match="budget_exceeded"):
            run("order-8")
        assert len(gateway.requests) == calls + 1
    jobs = http.get(f"{stack.api_url}/jobs", headers={"Authorization": f"Bearer {token}"}).json()
    assert len(jobs["jobs"]) == 1
