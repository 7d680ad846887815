"""The OpenAPI document of all routes."""

import tomllib
from collections.abc import Iterable
from http import HTTPStatus
from itertools import groupby
from typing import Final

from pydantic import BaseModel

from sd3.errors import InvalidRequestError, Sd3Error, StillRunningError
from sd3.responses.models import ErrorBody
from sd3.responses.webhooks import WebhookMessage
from tools import ROOT
from tools.openapi.examples import JOB_ID, REQUEST_ID, VALIDATION_DETAIL
from tools.openapi.operations import Header, Operation, Parameter, Response
from tools.openapi.routes import OPERATIONS, RETRY_AFTER
from tools.openapi.schemas import NULL, REF, Json, ref, schemas
from tools.openapi.webhooks import MESSAGE, MESSAGE_HEADERS

_DESCRIPTION: Final = """\
Generate images with Stable Diffusion 3. The API is OctoAI's SD3 API, with jobs on top of it.

**On the page at `/docs`:** press *Authorize* and paste your token. Then open `POST /generate/sd3` \
and press *Execute*: the response links to the image. Such requests are real, and cost what they \
cost from a program.

**From a program:** send `Authorization: Bearer <token>`; only the routes under *service* are \
open. `GET` and `HEAD` need a token with the scope `read`, every other method one with the scope \
`generate`.

**Query parameters** that a route does not have are a 422: the fields of a request go into its \
body. A parameter that is empty counts as not given. `_`, which some clients add to `GET` so that \
no cache answers, is ignored.

**Times** are UTC, always with six digits of the second and `Z`.

A short request is answered with its images. A long one, or one with `Prefer: respond-async`, is \
answered with a job that waits: read `GET /jobs/{id}` until its `status` is `succeeded`, `failed` \
or `canceled`, or name a `webhook` that is told.

Every error has the same fields: `code` for programs, `message` for people, and `request_id`, \
which the service's logs have too. `POST /mcp` is for agents, and describes its tools itself. \
Every other address that is not in this document is a 404 with the code `not_found`.
"""
_TAGS: Final = {
    "images": "Generate images, and upload images to start from.",
    "jobs": "Read, list, cancel and delete what was generated or waits.",
    "batches": "Send up to 10,000 requests at once, and fetch one file of results.",
    "webhooks": "Have the end of a job sent to a receiver, by the rules of Standard Webhooks.",
    "openai": "For clients of OpenAI's Images API: this address is their `base_url`.",
    "usage": "Read what it cost, and what is left of the budget.",
    "service": "Open to everybody: these routes need no token.",
}
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "The token alone, without the word `Bearer`: one that the operator gave you "
    "(`sd3_...`), or a JWT of a trusted issuer. The page keeps it in memory only: it is gone when "
    "you reload.",
}
_WHEN: Final = {
    "invalid_json": "The body is not JSON.",
    "content_policy": "The upstream refuses to generate this.",
    "unauthorized": "No token, or nothing that looks like one.",
    "budget_exceeded": "It costs more than what is left of the client's budget for the day.",
    "forbidden": "The token is unknown, has expired or was revoked, or lacks the scope.",
    "method_not_allowed": "The address is there for another method, which `Allow` names.",
    "not_found": "It does not exist, or belongs to another client.",
    "idempotency_mismatch": "The Idempotency-Key was used for another request.",
    "not_cancelable": "The job has ended.",
    "delivery_pending": "The delivery has not ended.",
    "batch_pending": "The batch has not ended.",
    "not_reproducible": "The job has no images: it is failed.",
    "not_cached": "There is no earlier result, and with only-if-cached nothing is generated.",
    "gone": "The job has expired, was deleted, or was canceled while its caller was held.",
    "too_large": "The body is larger than the service takes.",
    "unsupported_media_type": "The body is not JSON in UTF-8, or its Content-Encoding cannot be "
    "read.",
    "validation_error": "The request is not valid: `detail` lists every fault.",
    "rate_limited": "Too many requests.",
    "internal_error": "The service failed.",
    "upstream_error": "The upstream failed, or its answer cannot be used.",
    "upstream_unavailable": "The upstream is throttled, down or out of reach, or the service's own "
    "tables, queues or buckets take no more calls; nothing was charged.",
    "still_running": "The job `job_id` runs on.",
}
_CHALLENGE: Final = Header("WWW-Authenticate", "What to send.", {"const": "Bearer"})
_ALLOW: Final = Header("Allow", "The methods of this address.", {"const": "GET"})
_ERROR_HEADERS: Final = {
    401: (_CHALLENGE,),
    405: (_ALLOW,),
    429: (RETRY_AFTER,),
    503: (RETRY_AFTER,),
    504: (RETRY_AFTER,),
}


def document() -> Json:
    """Make the OpenAPI document of all operations."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    failures = {_codes(group): group for each in OPERATIONS for group in _by_status(each.errors)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SD3 image service",
            "version": project["version"],
            "summary": project["description"],
            "description": _DESCRIPTION,
        },
        "servers": [{"url": ".", "description": "The service that serves this document."}],
        "security": [{"bearerAuth": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "webhooks": {"end": {"post": _message()}},
        "components": {
            "securitySchemes": {"bearerAuth": _BEARER},
            "responses": {name: _failure(group) for name, group in sorted(failures.items())},
            "schemas": schemas(),
        },
    }


def _operation(operation: Operation) -> Json:
    result: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    if operation.description:
        result["description"] = operation.description
    if operation.is_open:
        result["security"] = []
    parameters = [*map(_parameter, operation.parameters), *_query(operation.query)]
    if parameters:
        result["parameters"] = parameters
    if operation.body:
        examples = {title: {"value": value} for title, value in operation.body_examples.items()}
        content = {"schema": ref(operation.body), "examples": examples}
        result["requestBody"] = {"required": True, "content": {"application/json": content}}
    responses = {str(each.status): _response(each) for each in operation.responses}
    failures = {
        str(group[0].status): {"$ref": f"#/components/responses/{_codes(group)}"}
        for group in _by_status(operation.errors)
    }
    if operation.other_errors:
        model, statuses = operation.other_errors
        body: Json = {"application/json": {"schema": ref(model)}}
        for status in statuses:
            phrase = HTTPStatus(status).phrase
            responses[str(status)] = {"description": phrase, "content": body}
    return result | {"responses": responses | failures}


def _message() -> Json:
    """Describe what a receiver gets, and what it is to answer."""
    content: Json = {"schema": ref(WebhookMessage), "example": MESSAGE}
    return {
        "summary": "What a receiver gets",
        "description": "Signed by the rules of Standard Webhooks. It comes at least once.",
        "tags": ["webhooks"],
        "security": [],
        "parameters": [_parameter(each) | {"required": True} for each in MESSAGE_HEADERS],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "204": {"description": "The message is taken, as by any 2xx."},
            "410": {"description": "Nothing is to come any more: the endpoint is disabled."},
            "503": {"description": "The message comes again, as after any other answer or none."},
        },
    }


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.location == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _query(model: type[BaseModel] | None) -> list[Json]:
    """Make the parameters of a query, without null, which no query can express."""
    if model is None:
        return []
    parameters = []
    for name, schema in model.model_json_schema(ref_template=REF)["properties"].items():
        description = schema.pop("description")
        kinds = [kind for kind in schema.pop("anyOf", [schema]) if kind != NULL]
        parameters.append(Parameter(name, "query", description, kinds[0]))
    return [_parameter(parameter) for parameter in parameters]


def _response(response: Response) -> Json:
    result: Json = {"description": response.description}
    if response.headers:
        result["headers"] = _headers(response.headers)
    bodies = [ref(model) for model in response.models]
    if bodies:
        schema = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
        content: Json = {"schema": schema}
        if response.example is not None:
            content["example"] = response.example
        result["content"] = {response.media_type: content}
    elif response.status == HTTPStatus.OK and response.media_type:
        kind = "object" if response.media_type == "application/json" else "string"
        result["content"] = {response.media_type: {"schema": {"type": kind}}}
    return result


def _headers(headers: Iterable[Header]) -> Json:
    return {
        header.name: {
            "description": header.description,
            "required": header.always,
            "schema": header.schema,
        }
        for header in headers
    }


def _by_status(errors: Iterable[type[Sd3Error]]) -> list[tuple[type[Sd3Error], ...]]:
    ordered = sorted(errors, key=lambda error: error.status)
    return [tuple(group) for _, group in groupby(ordered, key=lambda error: error.status)]


def _codes(errors: Iterable[type[Sd3Error]]) -> str:
    """Join the codes of these errors to a name of their response."""
    return "_or_".join(error.code for error in errors)


def _failure(errors: tuple[type[Sd3Error], ...]) -> Json:
    """Make the response for errors of one status."""
    status = errors[0].status
    code = {"enum": [error.code for error in errors]}
    required = ["detail"] if status == HTTPStatus.UNPROCESSABLE_ENTITY else []
    result: Json = {
        "description": " Or: ".join(_WHEN[error.code] for error in errors),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [ref(ErrorBody), {"properties": {"code": code}}],
                    "required": required,
                },
                "examples": {error.code: {"value": _failure_example(error)} for error in errors},
            }
        },
    }
    if status in _ERROR_HEADERS:
        result["headers"] = _headers(_ERROR_HEADERS[status])
    return result


def _failure_example(error: type[Sd3Error]) -> Json:
    example: Json = {"code": error.code, "message": _WHEN[error.code], "request_id": REQUEST_ID}
    if error is StillRunningError:
        example["job_id"] = JOB_ID
    if error is InvalidRequestError:
        example["detail"] = VALIDATION_DETAIL
    return example
