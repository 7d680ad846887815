"""The processes of a measurement: the servers, and the sides that call them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple, cast

from benchmarks.certificates import loopback_certificate
from benchmarks.servers import NOISY_ROWS

ROOT = Path(__file__).resolve().parent.parent
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "8388608"}
"""What template.yaml sets for glibc."""

TIMEOUT = 10.0
"""Seconds after which a process that does not end is killed."""


class Sample(NamedTuple):
    """The measurements of one request.

    `seconds` are those of the handler, `peak` is the process's peak of resident memory in bytes,
    and `loading` the seconds of its import, before its first request.
    """

    seconds: float
    peak: int
    loading: float


class Side:
    """A process that handles requests, one at a time."""

    def __init__(self, requests: IO[str], samples: IO[str]) -> None:
        self._requests = requests
        self._samples = samples

    def handle(self, images: int) -> Sample:
        """Handle one request for `images` images; raises RuntimeError if the handler failed."""
        print(images, file=self._requests, flush=True)
        line = self._samples.readline()
        if not line:
            raise RuntimeError("the handler failed: see its traceback above")
        return Sample(*json.loads(line))


@contextmanager
def running(
    arguments: Sequence[str], environ: Mapping[str, str]
) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run `python ARGUMENTS` until its input ends; yields its standard input and output."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environ,
        text=True,
    )
    with process, cast("IO[str]", process.stdin) as stdin:
        try:
            yield stdin, cast("IO[str]", process.stdout)
            stdin.close()
            process.wait(TIMEOUT)
        finally:
            process.kill()  # no effect on a process that has ended


@contextmanager
def side(name: str, environ: Mapping[str, str]) -> Iterator[Side]:
    """Start a side of `benchmarks.worker` that is ready to handle requests."""
    with running(["-m", "benchmarks.worker", name], environ) as (stdin, stdout):
        yield Side(stdin, stdout)


@contextmanager
def stage(
    *,
    s3_ms: int = 0,
    table_ms: int = 0,
    queue_ms: int = 0,
    tls: bool = False,
    noisy_rows: int = NOISY_ROWS,
    stored: Path | None = None,
) -> Iterator[dict[str, str]]:
    """Start both servers, with a latency for each call to S3, to the tables and to all others.

    With `tls`, AWS is served over TLS, by a certificate that is trusted beside the usual ones. It
    is not for naive: over TLS botocore sends a body in chunks if the caller gives no checksum of
    it, and the server does not read these. The images that are generated have so many rows of
    noise, and `stored` is what S3 returns. Yields the environment for a function. Bytecode is
    cached in `build/`, whatever the caller's environment sets.
    """
    plain = {name: value for name, value in os.environ.items() if _is_neutral(name)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        certificate = loopback_certificate(folder) if tls else None
        options: dict[str, Any] = {"s3_ms": s3_ms, "table_ms": table_ms, "queue_ms": queue_ms}
        options |= {"certificate": str(certificate.served)} if certificate else {}
        options |= {"stored": str(stored)} if stored else {}
        served = {"sd3": {"noisy_rows": noisy_rows}, "aws": options}
        servers = [
            stack.enter_context(
                running(["-m", "benchmarks.servers", which, json.dumps(how)], plain)
            )
            for which, how in served.items()
        ]
        upstream, aws = (stdout.readline().strip() for _, stdout in servers)
        trusted = {"AWS_CA_BUNDLE": str(certificate.trusted)} if certificate else {}
        yield plain | trusted | _function_environment(upstream, aws)


def _is_neutral(name: str) -> bool:
    return not name.startswith(("AWS_", "PYTHON", "SD3_"))


def _function_environment(upstream: str, aws: str) -> dict[str, str]:
    region = "us-east-1"
    return {
        "AWS_ACCESS_KEY_ID": "ASIABENCHMARKS",
        "AWS_SECRET_ACCESS_KEY": "benchmarks",
        "AWS_SESSION_TOKEN": "benchmarks" * 40,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": "generate",
        "AWS_ENDPOINT_URL_S3": aws,
        "AWS_ENDPOINT_URL_DYNAMODB": aws,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
        "AWS_ENDPOINT_URL_SQS": aws,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": aws,
        "POWERTOOLS_METRICS_NAMESPACE": "sd3",
        **MALLOC,
        "IMAGES_BUCKET": "images",
        "JOBS_TABLE": "jobs",
        "USAGE_TABLE": "usage",
        "CLIENTS_TABLE": "clients",
        "UPSTREAMS_TABLE": "upstreams",
        "WEBHOOKS_TABLE": "webhooks",
        "QUEUE_URL": f"{aws}/123456789012/jobs",
        "DELIVERIES_QUEUE_URL": f"{aws}/123456789012/deliveries",
        "UPSTREAM": "octoai",
        "UPSTREAM_URL": upstream,
        "UPSTREAM_SECRET": f"arn:aws:secretsmanager:{region}:123456789012:secret:upstream",
        "UPSTREAM_TOKEN": "token",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "sd3")]),
        "PYTHONPYCACHEPREFIX": str(ROOT / "build" / "benchmarks"),
    }
