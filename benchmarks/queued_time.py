"""Time from 202 to done: what the queue adds to an upstream's time, on the embedded AWS."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import requests

from benchmarks.table import Note
from local.stack import Stack, running

JOBS: Final = 9
MAX_SECONDS: Final = 20.0
REQUEST: Final = {"prompt": "a lighthouse in a storm", "seed": 1, "steps": 30}


def measure(_rounds: int) -> Iterator[Note]:
    """Queue some jobs, one after another, in a separate stack: a minute in all."""
    with (
        TemporaryDirectory(prefix="bench-") as state,
        running(Path(state), edge_port=0, model_port=0, report=lambda _: None) as stack,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {stack.deployed.issue_token('bench')}"
        _job(session, stack)  # starts the functions
        taken: list[tuple[float, float]] = []
        end = perf_counter() + MAX_SECONDS
        while len(taken) < JOBS and perf_counter() < end:
            taken.append(_job(session, stack))
    done, generated = (median(each) * 1000 for each in zip(*taken, strict=True))
    text = f"{done:.0f} ms, of which {generated:.0f} ms are the upstream's ({len(taken)} jobs)"
    yield Note("from 202 to done, embedded AWS (no benchmark of AWS)", text)


def _job(session: requests.Session, stack: Stack) -> tuple[float, float]:
    """Measure the seconds from the response until the job is done, and those of the upstream."""
    prefer = {"Prefer": "respond-async"}
    url = f"{stack.api_url}/generate/sd3"
    queued: dict[str, Any] = session.post(url, json=REQUEST, headers=prefer, timeout=60).json()
    start = perf_counter()
    where = f"{stack.api_url}/jobs/{queued['id']}"
    while True:
        job = session.get(where, timeout=60).json()
        if job["status"] == "succeeded":
            return perf_counter() - start, job["prediction_time_ms"] / 1000
        if job["status"] not in {"queued", "running"}:
            msg = f"the job is {job['status']}: {job['error']}"
            raise RuntimeError(msg)
