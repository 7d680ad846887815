"""Everything that reads or ends a job, the form to upload an init image by, usage, what is open."""

from typing import Any, Final

from sd3.api import JOB_RETRY_AFTER, Response, handle
from sd3.bootstrap import service
from sd3.documents import docs, docs_file, openapi
from sd3.gateway import Request
from sd3.models import HealthAnswer, JobsQuery
from sd3.uploads import UploadRequest

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
    page = service().list_jobs(
        request.client_id, status=query.status, limit=query.limit, cursor=query.cursor
    )
    return Response(200, page, _NEVER_KEEP)


def job(request: Request) -> Response:
    """Answer 200 with the job, links signed now, or 304 to a client that knows it so.

    `Prefer: wait=N` holds the answer until the job ends, or is not the one that is known.
    """
    wait, known = request.wait_seconds(), request.known_tags()
    found = service().job(
        request.path["id"],
        client_id=request.client_id,
        wait_seconds=min(wait or 0, request.seconds - _ANSWER_SECONDS),
        known_tags=known,
    )
    headers = {"ETag": service().entity_tag(found), **_ASK_AGAIN}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if not found.status.is_terminal:
        headers["Retry-After"] = JOB_RETRY_AFTER
    if service().is_known(found, known):
        return Response(304, headers=headers)
    return Response(200, service().answer(found), headers)


def cancel(request: Request) -> Response:
    """Answer 200 with the job, which is canceled; 409 for one that has ended."""
    return Response(200, service().cancel(request.path["id"], client_id=request.client_id))


def delete(request: Request) -> Response:
    """Answer 204: the job is gone with its pictures, and canceled before if it was open."""
    service().delete(request.path["id"], client_id=request.client_id)
    return Response(204)


def image(request: Request) -> Response:
    """Answer 302 to a link signed now: this address lasts as long as the picture does."""
    link = service().image(request.path["id"], request.path["index"], client_id=request.client_id)
    return Response(302, headers={"Location": link.url, **_NEVER_KEEP})


def upload(request: Request) -> Response:
    """Answer 201 with a form by which a large init image is sent to S3."""
    wanted = request.body(UploadRequest)
    return Response(201, service().upload(wanted, client_id=request.client_id), _NEVER_KEEP)


def usage(request: Request) -> Response:
    """Answer 200 with what the client has used, and may still use today."""
    return Response(200, service().usage(request.client_id, request.limits), _NEVER_KEEP)


def health(_request: Request) -> Response:
    """Answer 200, having touched nothing."""
    return Response(200, HealthAnswer())
