"""Everything that reads or ends a job, the form to upload an init image by, usage, what is open."""

from typing import Any, Final

from sd3.api.app import JOB_RETRY_AFTER, Response, handle
from sd3.api.openapi import docs, docs_file, openapi
from sd3.api.request import Request
from sd3.bootstrap import job_service
from sd3.domain.job_list import JobsQuery
from sd3.domain.request import UploadRequest
from sd3.responses.models import HealthResponse

_ANSWER_SECONDS: Final = 3.0
"""Kept back from the function's time when somebody waits for a job."""

_ASK_AGAIN: Final = {"Cache-Control": "private, no-cache"}
_NEVER_KEEP: Final = {"Cache-Control": "no-store"}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    routes = {
        "GET /jobs": jobs,
        "GET /jobs/{id}": job,
        "DELETE /jobs/{id}": delete,
        "POST /jobs/{id}/cancel": cancel,
        "GET /jobs/{id}/images/{index}": image,
        "POST /uploads": upload,
        "GET /usage": usage,
        "GET /health": health,
        "GET /openapi.json": openapi,
        "GET /docs": docs,
        "GET /docs/{file}": docs_file,
    }
    return handle(routes, event, context)


def jobs(request: Request) -> Response:
    """Answer 200 with a page of the client's jobs, newest first."""
    query = request.query(JobsQuery)
    page = job_service().list_jobs(
        request.client_id, status=query.status, limit=query.limit, cursor=query.cursor
    )
    return Response(200, page, _NEVER_KEEP)


def job(request: Request) -> Response:
    """Answer 200 with the job, links signed now, or 304 to a client that knows it so.

    `Prefer: wait=N` holds the answer until the job ends, or is not the one that is known.
    """
    wait, known = request.wait_seconds(), request.known_tags()
    found = job_service().get_job(
        request.path["id"],
        client_id=request.client_id,
        wait_seconds=min(wait or 0, request.seconds - _ANSWER_SECONDS),
        known_tags=known,
    )
    headers = {"ETag": found.etag, **_ASK_AGAIN}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if not found.job.status.is_terminal:
        headers["Retry-After"] = JOB_RETRY_AFTER
    if found.not_modified:
        return Response(304, headers=headers)
    return Response(200, job_service().to_response(found.job), headers)


def cancel(request: Request) -> Response:
    """Answer 200 with the job, which is canceled; 409 for one that has ended."""
    return Response(200, job_service().cancel(request.path["id"], client_id=request.client_id))


def delete(request: Request) -> Response:
    """Answer 204: the job is gone with its images, and canceled before if it was open."""
    job_service().delete(request.path["id"], client_id=request.client_id)
    return Response(204)


def image(request: Request) -> Response:
    """Answer 302 to a link signed now: this address lasts as long as the image does."""
    link = job_service().get_image(
        request.path["id"], request.path["index"], client_id=request.client_id
    )
    return Response(302, headers={"Location": link.url, **_NEVER_KEEP})


def upload(request: Request) -> Response:
    """Answer 201 with a form by which a large init image is sent to S3."""
    wanted = request.body(UploadRequest)
    return Response(
        201, job_service().create_upload(wanted, client_id=request.client_id), _NEVER_KEEP
    )


def usage(request: Request) -> Response:
    """Answer 200 with what the client has used, and may still use today."""
    return Response(200, job_service().get_usage(request.client_id, request.limits), _NEVER_KEEP)


def health(_request: Request) -> Response:
    """Answer 200, having touched nothing."""
    return Response(200, HealthResponse())
