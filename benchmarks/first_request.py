"""A function's process as Lambda starts one: the import, and later its first request."""

import os
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.worker import Context, event

FUNCTIONS: Final = Path(__file__).resolve().parent.parent / "functions"
JOB_ID: Final = "cold-start"
OK: Final = 200

_ARN: Final = "arn:aws:execute-api:us-east-1:123456789012:api/Prod/GET/jobs"


def first_event(function: str) -> dict[str, Any]:
    """Make the event of a function's first request; `jobs` reads the job that `generate` made."""
    if function == "authorizer":
        token = f"Bearer sd3_{'0' * 43}"
        return {"type": "TOKEN", "authorizationToken": token, "methodArn": _ARN}
    request = event(1)
    request["requestContext"]["extendedRequestId"] = JOB_ID
    if function == "jobs":
        resource, path = "/jobs/{id}", f"/jobs/{JOB_ID}"
        request |= {"resource": resource, "path": path, "httpMethod": "GET", "body": None}
        request["pathParameters"] = {"id": JOB_ID}
    return request


def main(function: str, certificates: str) -> None:
    """Print the process's id and the seconds of the import; after a line, those of a request.

    With `certificates` as `each`, each connection to AWS reads the certificates of CAs, as without
    the package's own TLS context. Raises RuntimeError if the request failed.
    """
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the function's log
    sys.path.insert(0, str(FUNCTIONS / function))
    start = perf_counter()
    app = import_module("app")
    print(os.getpid(), perf_counter() - start, file=output, flush=True)
    if certificates == "each":
        vars(sys.modules["sd3.adapters.aws"])["_with_tls"] = lambda client: client
    request, context = first_event(function), Context()
    sys.stdin.readline()
    start = perf_counter()
    response = app.handler(request, context)
    seconds = perf_counter() - start
    if response.get("statusCode", OK) != OK:
        msg = f"{function} failed: {response}"
        raise RuntimeError(msg)
    print(seconds, file=output, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
