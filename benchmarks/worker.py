"""One side as a process. It handles a request for each number of images on standard input."""

import json
import os
import resource
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

FUNCTIONS = Path(__file__).resolve().parent.parent / "functions"
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
SIGNATURE = "Signature="
"""Appears once in every link, signed by v4 or by v2, which is naive's default here."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass(frozen=True)
class Context:
    """Lambda's context of an invocation."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_name: str = "generate"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:generate"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout."""
        return 60_000


def event(images: int) -> dict[str, Any]:
    """Make the API Gateway proxy event of a new request for `images` images."""
    steps = min(30, 120 // images)  # more steps would be queued
    request = {"prompt": "a lighthouse in a storm", "num_images": images, "steps": steps,
               "seed": 1, "image_encoding": "png"}  # fmt: skip
    headers = {"Content-Type": "application/json", "Accept": "*/*", "Host": "api.example.com"}
    path = "/generate/sd3"
    return {
        "resource": path,
        "path": path,
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "extendedRequestId": uuid.uuid4().hex,
            "authorizer": {"client_id": "bench", "principalId": "bench"},
            "httpMethod": "POST",
            "resourcePath": path,
            "path": path,
            "stage": "Prod",
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "bench"},
        },
        "body": json.dumps(request),
        "isBase64Encoded": False,
    }


def _naive() -> Handler:
    return import_module("benchmarks.naive").handler  # type: ignore[no-any-return] # loaded by name


def _ours() -> Handler:
    sys.path.insert(0, str(FUNCTIONS / "generate"))
    return import_module("app").handler  # type: ignore[no-any-return] # loaded by name


def _openai() -> Handler:
    """Handle the same request as OpenAI's Images API has it, for images as links."""
    handle = _ours()

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        path, ours = "/images/generations", json.loads(event["body"])
        body = {"prompt": ours["prompt"], "n": ours["num_images"], "steps": ours["steps"]}
        body |= {"seed": ours["seed"], "output_format": "png", "response_format": "url"}
        return handle(event | {"resource": path, "path": path, "body": json.dumps(body)}, context)

    return handler


def _floor() -> Handler:
    """Only fetch the images, into allocated memory: the lower bound of any handler."""
    import http.client  # noqa: PLC0415 - a side must find nothing imported that it did not import

    host = os.environ["UPSTREAM_URL"].removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    room = memoryview(bytearray(64 << 20))

    def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
        connection.request("POST", "/generate/sd3", event["body"])
        with connection.getresponse() as response:
            at = 0
            while size := response.readinto(room[at:]):
                at += size
        images = json.loads(event["body"])["num_images"]
        return {"statusCode": response.status, "body": SIGNATURE * images}

    return handler


SIDES = {"naive": _naive, "ours": _ours, "openai": _openai, "floor": _floor}


def main(name: str) -> None:
    """Handle requests until standard input ends, and print the Sample of each as JSON.

    Raises RuntimeError when a handler did not store and link every image. What the handler
    prints is dropped: Lambda takes it away as cheaply.
    """
    samples = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    start = perf_counter()
    handler = SIDES[name]()
    loading = perf_counter() - start
    for line in sys.stdin:
        images = int(line)
        request, context = event(images), Context()
        start = perf_counter()
        response = handler(request, context)
        seconds = perf_counter() - start
        linked = response["body"].count(SIGNATURE)
        if linked != images:
            msg = f"{name} linked {linked} of {images}: {response['statusCode']} {response['body']}"
            raise RuntimeError(msg)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT
        print(json.dumps([seconds, peak, loading]), file=samples, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
