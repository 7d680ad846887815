"""POST /mcp: the tools of the Model Context Protocol, by which agents generate images.

A tool queues its job and waits for it. So the function needs no upstream, and answers while its
caller is still there: an agent whose call got no answer would pay for the image once more.
"""

from typing import Any, Final

from sd3.api.app import Response, RestApi
from sd3.api.mcp.server import McpServer, Tool, ToolResult
from sd3.api.mcp.tools import (
    ImageArguments,
    JobArguments,
    JobList,
    ListArguments,
    job_result,
    list_result,
)
from sd3.api.request import Request
from sd3.bootstrap import job_service, prepare, previews, queue_client, upstreams
from sd3.domain.client import GENERATE, MAX_WAIT_SECONDS, READ, RequestContext
from sd3.domain.job import unpadded
from sd3.errors import MethodNotAllowedError, Sd3Error

_RESPONSE_SECONDS: Final = 5.0
"""The part of the function's time that is reserved for previews and the response."""

_INSTRUCTIONS: Final = (
    "Generates images with Stable Diffusion 3. Images cost money: generate what the user asked for,"
    " and once. The previews are small; give the user the links, which expire. A job that is still"
    " queued or running goes on by itself: call get_job with its id."
)

_PAID: Final = {
    "readOnlyHint": False, "destructiveHint": False, "idempotentHint": False, "openWorldHint": True
}  # fmt: skip
_READS: Final = {"readOnlyHint": True, "openWorldHint": False}

app = RestApi(any_scope=frozenset(("/mcp",)))


def generate_image(request: Request, arguments: ImageArguments) -> ToolResult:
    """Queue a request as a job, and return the job once it has ended, or as it is after a while."""
    context = RequestContext(
        client_id=request.client_id,
        client_name=request.client_name,
        job_id=unpadded(request.id),
        seconds=request.seconds,
        respond_async=True,
        limits=request.limits,
    )
    body = arguments.to_request(max_images=request.limits.max_images)
    job_id = job_service().generate(body, context).id
    try:
        return _waited(request, job_id, must_succeed=True)
    except Sd3Error as error:
        error.job_id = job_id
        raise


def get_job(request: Request, arguments: JobArguments) -> ToolResult:
    """Return a job once it has ended, or as it is after a while."""
    return _waited(request, unpadded(arguments.id), must_succeed=False)


def list_jobs(request: Request, arguments: ListArguments) -> ToolResult:
    """Return a page of the client's jobs, newest first."""
    return list_result(
        job_service().list_jobs(
            request.client_id,
            status=arguments.status,
            limit=arguments.limit,
            cursor=arguments.cursor,
        )
    )


def _waited(request: Request, job_id: str, *, must_succeed: bool) -> ToolResult:
    found = job_service().get_job(
        job_id,
        client_id=request.client_id,
        wait_seconds=min(MAX_WAIT_SECONDS, max(request.seconds - _RESPONSE_SECONDS, 0)),
    )
    job = job_service().to_response(found.job)
    return job_result(job, previews().of(found.job), must_succeed=must_succeed)


_server = McpServer(
    tools={
        "generate_image": Tool(
            "Generate an image",
            "Generates images from a prompt with Stable Diffusion 3. Each image is paid. Returns"
            " previews, links to the whole images, seeds and the price, or after 20 seconds the id"
            " of a job that goes on.",
            GENERATE, ImageArguments, None, _PAID, generate_image,
        ),
        "get_job": Tool(
            "Get a job",
            "Returns a job with previews of its images and new links to them. Waits for up to 20"
            " seconds until the job ends.",
            READ, JobArguments, None, _READS, get_job,
        ),
        "list_jobs": Tool(
            "List jobs", "Lists the jobs of this client, newest first, without links to images.",
            READ, ListArguments, JobList, _READS, list_jobs,
        ),
    },
    instructions=_INSTRUCTIONS,
)  # fmt: skip


@app.post("/mcp")
def mcp(request: Request) -> Response:
    """Respond to one message of the protocol."""
    return _server.respond(request)


@app.get("/mcp")
@app.delete("/mcp")
def no_stream(request: Request) -> Response:  # noqa: ARG001 - every route gets a request
    """Refuse what older clients use for streams and sessions. There are none."""
    raise MethodNotAllowedError("Use POST: there are no streams and no sessions.", allowed="POST")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Respond to an API Gateway proxy event."""
    return app.resolve(event, context)


prepare(job_service, previews, queue_client, upstreams)
