"""The routes for jobs, uploads and usage, and the routes without a token."""

from typing import Any, Final

from sd3.api.app import Response, RestApi, job_retry_after
from sd3.api.openapi import docs, docs_file, openapi
from sd3.api.playground.page import page
from sd3.api.request import Request
from sd3.api.verification import image_of
from sd3.bootstrap import (
    image_links,
    job_service,
    playground_origin,
    prepare,
    upload_forms,
    verification,
)
from sd3.domain.client import READ, require
from sd3.domain.job_list import JobsQuery
from sd3.domain.rendition import ImageQuery
from sd3.domain.request import UploadRequest
from sd3.errors import MethodNotAllowedError, NotFoundError
from sd3.responses.models import HealthResponse

_RESPONSE_SECONDS: Final = 3.0
"""The part of the function's time that is reserved for the response after a wait for a job."""

_NO_CACHE: Final = {"Cache-Control": "private, no-cache"}
_NO_STORE: Final = {"Cache-Control": "no-store"}

_IMAGE: Final = "/jobs/{id}/images/{index}"

app = RestApi(
    open_routes=frozenset(("/health", "/openapi.json", "/docs", "/docs/{file}", "/playground")),
    any_scope=frozenset(("/verify",)),
    queries={"/jobs": JobsQuery, _IMAGE: ImageQuery},
)
for _method in (app.get, app.head):
    _method("/openapi.json")(openapi)
    _method("/docs")(docs)
    _method("/docs/<file>")(docs_file)


@app.get("/playground")
@app.head("/playground")
def playground(request: Request) -> Response:
    """Respond 200 with the page on which people try the API, or 404 where it is turned off."""
    origin = playground_origin()
    if origin is None:
        raise NotFoundError("This deployment has no playground.")
    if request.event.path.endswith("/"):  # from there the page's relative addresses lead nowhere
        return Response(302, headers={"Location": "../playground"})
    return Response(200, page().html, page().headers(origin))


@app.get("/jobs")
def jobs(request: Request) -> Response:
    """Respond 200 with a page of the client's jobs, newest first."""
    query = request.query(JobsQuery)
    page = job_service().list_jobs(
        request.client_id, status=query.status, limit=query.limit, cursor=query.cursor
    )
    return Response(200, page, _NO_STORE)


@app.get("/jobs/<id>")
def job(request: Request, id: str) -> Response:
    """Respond 200 with the job and links signed now, or 304 if the client's ETag still matches.

    `Prefer: wait=N` delays the response until the job ends, or its ETag no longer matches. A client
    that has begun too many waits is answered at once.
    """
    wait, known = request.wait_seconds(), request.known_tags()
    found = job_service().get_job(
        id,
        client_id=request.client_id,
        wait_seconds=min(wait or 0, request.seconds - _RESPONSE_SECONDS),
        known_tags=known,
    )
    headers = {"ETag": found.etag, **_NO_CACHE}
    if wait is not None and found.has_waited:
        headers["Preference-Applied"] = f"wait={wait}"
    progress = job_service().progress_of(found.job)
    if not found.job.status.is_terminal:
        headers["Retry-After"] = job_retry_after(progress.eta_seconds)
    if found.not_modified:
        return Response(304, headers=headers)
    return Response(200, job_service().to_response(found.job, progress), headers)


@app.post("/jobs/<id>/cancel")
def cancel(request: Request, id: str) -> Response:
    """Respond 200 with the canceled job, or 409 if it has ended."""
    return Response(200, job_service().cancel(id, client_id=request.client_id))


@app.delete("/jobs/<id>")
def delete(request: Request, id: str) -> Response:
    """Delete the job with its images and respond 204. An open job is canceled first."""
    job_service().delete(id, client_id=request.client_id)
    return Response(204)


@app.get("/jobs/<id>/images/<index>")
def image(request: Request, id: str, index: str) -> Response:
    """Redirect to a link signed now, or respond 200 with it if the client prefers JSON.

    The route's own URL is valid as long as the image. A rendition is made when it is first asked
    for.
    """
    link = image_links().get(
        id,
        index,
        request.query(ImageQuery),
        client_id=request.client_id,
        accepted=request.accepted_image(),
    )
    headers = {**_NO_STORE, "Vary": "Accept"}
    if request.prefers_json():
        return Response(200, link, headers)
    return Response(302, headers={"Location": link.url, **headers})


@app.head("/jobs/<id>/images/<index>")
def image_head(request: Request, id: str, index: str) -> Response:  # noqa: ARG001 - as for GET
    """Refuse HEAD. The link that GET leads to is signed for GET alone."""
    raise MethodNotAllowedError("Use GET: a link to an image is not for HEAD.", allowed="GET")


@app.post("/uploads")
def upload(request: Request) -> Response:
    """Respond 201 with a form by which a client sends a large init image to S3."""
    body = request.body(UploadRequest)
    form = upload_forms().create(body, client_id=request.client_id, limits=request.limits)
    return Response(201, form, _NO_STORE)


@app.post("/verify")
def verify(request: Request) -> Response:
    """Respond 200 with what an image says of its origin, to a token that may read."""
    require(READ, request.scopes)
    found = verification().verify(image_of(request), client_id=request.client_id)
    return Response(200, found, _NO_STORE)


@app.get("/usage")
def usage(request: Request) -> Response:
    """Respond 200 with what the client has used and what is left for today."""
    return Response(200, job_service().get_usage(request.client_id, request.limits), _NO_STORE)


@app.get("/health")
@app.head("/health")
def health(request: Request) -> Response:  # noqa: ARG001 - every route gets a request
    """Respond 200 without calling anything."""
    return Response(200, HealthResponse())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Respond to an API Gateway proxy event."""
    return app.resolve(event, context)


prepare(job_service, upload_forms, image_links)
