"""The routes of batches."""

from typing import Final

from sd3.domain.batch import BATCH_ID, BatchesQuery
from sd3.domain.batch_request import BatchRequest
from sd3.errors import (
    BatchPendingError,
    GoneError,
    IdempotencyMismatchError,
    NotCancelableError,
    NotFoundError,
)
from sd3.responses.batches import BatchListResponse, BatchResponse, ResultsLinkResponse
from tools.openapi.examples import Example
from tools.openapi.operations import (
    CACHE,
    STORED,
    TEXT,
    WITH_BODY,
    Header,
    Operation,
    Parameter,
    Response,
)

_TAG: Final = "batches"
_BATCH_ID: Final = "019ac7a1e9d25f0b7a3c9e81d4f6"
_BATCH: Final[Example] = {
    "id": _BATCH_ID,
    "status": "in_progress",
    "created_at": "2026-11-28T00:41:31.675876Z",
    "completed_at": None,
    "expires_at": "2026-12-28T00:41:31.675876Z",
    "request_counts": {"total": 2, "completed": 1, "failed": 0},
    "cost_usd": 0.03,
    "metadata": {},
    "error": None,
}
_LINES: Final[Example] = {
    "requests": [
        {"custom_id": "fox", "prompt": "a fox in the snow", "seed": 8},
        {"custom_id": "owl", "prompt": "an owl at night", "width": 1344, "height": 768},
    ]
}

_ID: Final = Parameter("id", "path", "The batch's id.", TEXT | {"pattern": f"^{BATCH_ID.pattern}$"})
_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "A name of this request, so that a repetition leads to the same batch, for a day.",
    TEXT | {"minLength": 1, "maxLength": 255},
)
_OF_A_BATCH: Final = (NotFoundError, GoneError, *STORED)

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/batches",
        id="createBatch",
        tag=_TAG,
        summary="Send many requests at once",
        description="Each line becomes a job, which waits behind the lines before it and keeps no "
        "other job waiting. A line that is wrong has an error in the results. The others go on.",
        parameters=(_KEY,),
        body=BatchRequest,
        body_examples={"Two images": _LINES},
        responses=(
            Response(
                202,
                "The batch, whose lines are read later.",
                (BatchResponse,),
                (Header("Location", "Where the batch is.", TEXT), CACHE),
                example={**_BATCH, "status": "validating"},
            ),
        ),
        errors=(IdempotencyMismatchError, *WITH_BODY, *STORED),
    ),
    Operation(
        method="get",
        path="/batches",
        id="listBatches",
        tag=_TAG,
        summary="List the client's batches, newest first",
        query=BatchesQuery,
        responses=(
            Response(
                200,
                "A page of batches.",
                (BatchListResponse,),
                (CACHE,),
                example={"batches": [_BATCH], "next_cursor": None},
            ),
        ),
        errors=STORED,
    ),
    Operation(
        method="get",
        path="/batches/{id}",
        id="getBatch",
        tag=_TAG,
        summary="Read how many lines have ended",
        parameters=(_ID,),
        responses=(
            Response(
                200,
                "The batch.",
                (BatchResponse,),
                (
                    CACHE,
                    Header("Retry-After", "Seconds, while it has not ended.", TEXT, always=False),
                ),
                example=_BATCH,
            ),
        ),
        errors=_OF_A_BATCH,
    ),
    Operation(
        method="get",
        path="/batches/{id}/results",
        id="getBatchResults",
        tag=_TAG,
        summary="Fetch the results of a batch that has ended",
        description="They are a JSONL with one line for each line of the batch, in its order. "
        "Without a redirect, send `Accept: application/json`: the answer is a 200 with the link. "
        "Fetch the link without the token.",
        parameters=(_ID,),
        responses=(
            Response(
                200,
                "The link, for a client that prefers `application/json`.",
                (ResultsLinkResponse,),
                (CACHE, Header("Vary", "Accept", TEXT)),
            ),
            Response(
                302,
                "The results are there. Do not send the token on to them.",
                (),
                (
                    Header("Location", "The link to the results.", TEXT),
                    CACHE,
                    Header("Vary", "Accept", TEXT),
                ),
            ),
        ),
        errors=(BatchPendingError, *_OF_A_BATCH),
    ),
    Operation(
        method="post",
        path="/batches/{id}/cancel",
        id="cancelBatch",
        tag=_TAG,
        summary="Cancel the lines that have not ended",
        description="Images that are there stay. The batch is canceled once every line has ended, "
        "and has results then.",
        parameters=(_ID,),
        responses=(
            Response(
                202,
                "The batch, which is canceled.",
                (BatchResponse,),
                example={**_BATCH, "status": "cancelling"},
            ),
        ),
        errors=(NotCancelableError, *_OF_A_BATCH),
    ),
)
