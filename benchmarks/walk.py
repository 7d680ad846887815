"""Modules of ours that execute in a request, which a reader has to follow."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.entrypoints import message
from benchmarks.stage import ROOT, running, stage
from benchmarks.table import Note
from benchmarks.worker import Context, event

AIMS: Final = {"synchronous": 24, "queued": 20, "GET job": 12}
"""The most modules of each flow until its response, without the worker of a queued job."""

_OURS: Final = {ROOT / "layers/sd3/sd3": ROOT / "layers/sd3", ROOT / "functions": ROOT}
"""The folders of our modules, and the folders that their names are relative to."""

Event = dict[str, Any]


def measure(_rounds: int) -> Iterator[Note]:
    """Count the modules of each flow once: it is the same in every round."""
    with (
        stage() as environ,
        running(["-m", "benchmarks.walk"], environ) as (_, lines),
    ):
        walks = [json.loads(line) for line in lines]
    if len(walks) != len(AIMS) + 1:
        raise RuntimeError("a function failed: see its traceback above")
    for flow, modules in walks:
        yield Note(f"modules crossed, {flow}", f"{len(modules)}{_verdict(flow, len(modules))}")
        yield Note(f"  {', '.join(modules)}", "")


def _verdict(flow: str, count: int) -> str:
    aim = AIMS.get(flow)
    if aim is None:
        return ""
    return f"; aim <= {aim}: {'met' if count <= aim else 'missed'}"


def crossed(call: Callable[[], object]) -> list[str]:
    """List our modules that execute in a call, in its threads too."""
    files: set[str] = set()

    def profile(frame: FrameType, kind: str, _: object) -> None:
        if kind == "call":
            files.add(frame.f_code.co_filename)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(filter(None, map(_module, files)))


def _module(file: str) -> str | None:
    """Return the name of one of our modules; None for a file that is not ours."""
    path = Path(file)
    for top, above in _OURS.items():
        if path.is_relative_to(top):
            return ".".join(path.relative_to(above).with_suffix("").parts)
    return None


def flows() -> Iterator[tuple[str, list[str]]]:
    """Run each flow and list its modules; raises RuntimeError when a function fails."""
    immediate, queued = event(1), event(1)
    yield "synchronous", crossed(lambda: _call("generate", immediate))
    queued["headers"]["Prefer"] = "respond-async"
    queued["multiValueHeaders"]["Prefer"] = ["respond-async"]
    yield "queued", crossed(lambda: _call("generate", queued))
    job_id = queued["requestContext"]["extendedRequestId"]
    yield "queued, its worker", crossed(lambda: _call("worker", message(job_id)))
    yield "GET job", crossed(lambda: _call("jobs", _read(queued)))


def _call(function: str, sent: Event) -> None:
    result = import_module(f"functions.{function}.app").handler(sent, Context())
    if (result or {}).get("batchItemFailures") or (result or {}).get("statusCode", 200) >= 300:
        msg = f"{function} failed: {result}"
        raise RuntimeError(msg)


def _read(generated: Event) -> Event:
    """Make the event that reads the job of a generating request."""
    job_id = generated["requestContext"]["extendedRequestId"]
    route = {"httpMethod": "GET", "resource": "/jobs/{id}", "path": f"/jobs/{job_id}"}
    return generated | route | {"pathParameters": {"id": job_id}, "body": None}


def main() -> None:
    """Print each flow with its modules as a line of JSON; an uncounted round fills the caches."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the functions' logs
    list(flows())
    for flow in flows():
        print(json.dumps(flow), file=output, flush=True)


if __name__ == "__main__":
    main()
