"""The consumer of the queue of batches, which dies once amid every fifth part, and at other steps.

It is put in the place of functions/batch_lines in the embedded AWS, and leaves a file in DEATHS for
each death. It changes what it imports: no test may import it.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from functions.batch_lines import app
from sd3.adapters.dynamodb.batches import BatchStore
from sd3.adapters.s3.batches import BatchFiles
from sd3.domain.client import RequestContext
from sd3.domain.request import GenerateRequest
from sd3.services.submission import JobSubmission

_EVERY = 5


def handler(event: dict[str, Any], context: Any) -> Any:
    """Call the consumer's handler."""
    return app.handler(event, context)


def die(step: str) -> None:
    """End this process, if none has ended at this step before."""
    try:
        (Path(os.environ["DEATHS"]) / step).touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(1)


def dying_after(step: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that the process dies once it is done, before anybody learns of it."""

    @wraps(method)
    def dies(*arguments: Any, **named: Any) -> Any:
        method(*arguments, **named)
        die(step)

    return dies


def submit(submission: JobSubmission, request: GenerateRequest, context: RequestContext) -> Any:
    """Submit a line, and die in the middle of some parts, with other lines under way."""
    job = _SUBMIT(submission, request, context)
    origin = context.batch
    if origin and origin.part % _EVERY == 0 and origin.line % 100 == 50:
        die(f"part {origin.part}")
    return job


_SUBMIT = JobSubmission.submit
# Assigned by name: methods are what is wrapped here.
for owner, name, replacement in (
    (JobSubmission, "submit", submit),
    (BatchStore, "add_parts", dying_after("split", BatchStore.add_parts)),
    (BatchStore, "note_made", dying_after("made", BatchStore.note_made)),
    (BatchFiles, "put_results", dying_after("results", BatchFiles.put_results)),
):
    setattr(owner, name, replacement)
