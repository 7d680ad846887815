"""A worker that dies once for each job with this metadata: {"dies": step, "by": "exit"}.

It is put in the place of functions/worker in the embedded AWS, and leaves a file in DEATHS for
each job that it has died for. It changes what it imports: no test may import it.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from functions.worker import app
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.s3.images import ImageStore
from sd3.domain import job as job_module
from sd3.domain.generation import GeneratedImage
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.services import execution
from sd3.upstreams.octoai import OctoaiUpstream

_started: list[Job] = []
"""The jobs of this process, the current one last."""


def handler(event: dict[str, Any], context: Any) -> Any:
    """Call the worker's handler."""
    return app.handler(event, context)


def die(job: Job, step: str) -> None:
    """End this process, or raise, if this is the job's step and it has not died before."""
    plan = job.request.metadata
    if plan.get("dies") != step:
        return
    try:
        (Path(os.environ["DEATHS"]) / job.id).touch(exist_ok=False)
    except FileExistsError:
        return
    if plan["by"] == "exit":
        os._exit(1)
    raise RuntimeError(step)


def dying_after(step: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that the process dies before it returns the result."""

    @wraps(method)
    def dies(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        die(_started[-1], step)
        return result

    return dies


def save(store: JobStore, job: Job) -> Job:
    """Replace JobStore.save: die around the write that starts an attempt, and after later ones."""
    if job.status is not JobStatus.RUNNING:
        stored = _SAVE(store, job)
        die(_started[-1], "after the final write")
        return stored
    _started.append(job)
    die(job, "before the claim")
    stored = _SAVE(store, job)
    die(job, "after the claim")
    return stored


def save_image(
    images: ImageStore, folder: str, index: int, generated: GeneratedImage
) -> ImageRecord:
    """Save an image as ImageStore._save does, but die at the second image."""
    if index == 1:
        die(_started[-1], "amid the images")
    return _SAVE_IMAGE(images, folder, index, generated)


_SAVE, _SAVE_IMAGE = JobStore.save, ImageStore._save
# Assigned by name: methods are what is wrapped here.
for owner, name, replacement in (
    (JobStore, "save", save),
    (ImageStore, "_save", save_image),
    (ImageStore, "save_all", dying_after("after the images", ImageStore.save_all)),
    (
        OctoaiUpstream,
        "generate",
        dying_after("after the upstream's response", OctoaiUpstream.generate),
    ),
    # Short times, so that tests do not wait for minutes.
    (job_module, "LEASE_MARGIN_SECONDS", 0),
    (execution, "STORE_SECONDS", 3),
    (app, "_RETRY_SECONDS", 2),
):
    setattr(owner, name, replacement)
