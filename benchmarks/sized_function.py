"""The process of `generate` or `worker`, which handles jobs of any number of images."""

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.entrypoints import message
from benchmarks.worker import Context, event


class Work(NamedTuple):
    """A job to make, and whether it is only queued; `worker` gets one that `generate` has made."""

    job_id: str
    images: int
    is_queued: bool = False
    has_upload: bool = False
    response_format: str = "url"


class Done(NamedTuple):
    """The seconds of a handler, and its process's peak of resident memory so far in bytes."""

    seconds: float
    peak: int


def _event(function: str, work: Work) -> dict[str, Any]:
    if function == "worker":
        return message(work.job_id)
    request = event(work.images)
    request["requestContext"]["extendedRequestId"] = work.job_id
    body = json.loads(request["body"]) | {"response_format": work.response_format}
    if work.has_upload:
        body |= {"init_image_id": "0" * 32}
    request["body"] = json.dumps(body)
    if work.is_queued:
        request["multiValueHeaders"]["Prefer"] = ["respond-async"]
    return request


def _peak() -> int:
    """Read the peak from Linux. getrusage would count the process that has started this one."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def main(function: str) -> None:
    """Print the process's id. Then do the Work of each line of JSON, and print what is Done.

    Raises RuntimeError when a handler failed.
    """
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the function's log
    handler = import_module(f"functions.{function}.app").handler
    print(os.getpid(), file=output, flush=True)
    for line in sys.stdin:
        work = Work(*json.loads(line))
        sent = _event(function, work)
        start = perf_counter()
        response = handler(sent, Context())
        seconds = perf_counter() - start
        if response.get("batchItemFailures") or response.get("statusCode", 200) >= 300:
            msg = f"{function} failed: {str(response)[:2000]}"
            raise RuntimeError(msg)
        print(json.dumps(Done(seconds, _peak())), file=output, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
