"""Cold start of each function: its import, and the AWS clients that a request needs."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from benchmarks.stage import ROOT, side, stage
from benchmarks.table import Row

AIM = 1.5
"""Validation, logging and our own modules come on top of boto3 and its clients."""

_FACTORIES = """
import app, functools, inspect
for name, each in sorted(vars(app).items()):
    if isinstance(each, functools._lru_cache_wrapper) and not inspect.signature(each).parameters:
        print(name)
"""
"""Outside Lambda functions create nothing at import, but in cached factory functions."""

_CLIENTS = """
import app
from botocore.session import Session
create_client = Session.create_client
def create(session, service, *args, **kwargs):
    print(service)
    return create_client(session, service, *args, **kwargs)
Session.create_client = create
"""

_TIMED = """
from time import perf_counter
start = perf_counter()
{code}
print(perf_counter() - start)
"""


def measure(rounds: int) -> Iterator[Row]:
    """Compare each function with boto3 and the same clients, in alternating fresh interpreters."""
    with stage() as environ:
        for app in sorted((ROOT / "functions").glob("*/app.py")):
            yield _cold_import(app.parent, environ, rounds)
        yield _first_request(environ, rounds)


def _cold_import(folder: Path, environ: Mapping[str, str], rounds: int) -> Row:
    path = os.pathsep.join([str(folder), environ["PYTHONPATH"]])
    environ = {**environ, "PYTHONPATH": path}
    del environ["AWS_LAMBDA_FUNCTION_NAME"]  # so that nothing is built before it is measured
    calls = "".join(f"app.{name}()\n" for name in _printed(_FACTORIES, environ))
    clients = sorted(set(_printed(_CLIENTS + calls, environ)))
    codes = {
        "ours": f"import app\n{calls}",
        "naive": "import boto3\n" + "".join(f"boto3.client({name!r})\n" for name in clients),
    }
    taken: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(1 + rounds):  # the first round fills the bytecode cache and is not counted
        for name, code in codes.items():
            taken[name].append(float(_printed(_TIMED.format(code=code), environ)[-1]))
    ours, naive = (1000 * median(taken[name][1:]) for name in ("ours", "naive"))
    return Row(f"cold {folder.name} ({', '.join(clients)})", ours, naive, "ms", AIM)


def _printed(code: str, environ: Mapping[str, str]) -> list[str]:
    """Run `code` in a fresh interpreter and return the lines that it prints."""
    arguments = [sys.executable, "-c", code]
    done = subprocess.run(arguments, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def _first_request(environ: Mapping[str, str], rounds: int) -> Row:
    """Measure from the import to the first response, which includes what is imported lazily."""
    taken: dict[str, list[float]] = {"ours": [], "naive": []}
    for _ in range(1 + rounds):
        for name, seen in taken.items():
            with side(name, environ) as process:
                sample = process.handle(1)
                seen.append(sample.loading + sample.seconds)
    ours, naive = (1000 * median(taken[name][1:]) for name in ("ours", "naive"))
    return Row("  cold generate with its first request, 1 image", ours, naive, "ms")
