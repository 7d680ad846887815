"""The routes of webhooks, and the message that receivers get."""

from typing import Any, Final

from sd3.domain.delivery import MESSAGE_ID
from sd3.domain.webhook import WebhookRequest
from sd3.domain.webhook_request import DeliveriesQuery, ReplayRequest, RotateRequest
from sd3.errors import DeliveryPendingError, NotFoundError
from sd3.responses.webhooks import (
    DeliveryListResponse,
    DeliveryResponse,
    ReplayResponse,
    WebhookResponse,
    WebhookSecretResponse,
)
from tools.openapi.examples import JOB_ID, SUCCEEDED_JOB, Example
from tools.openapi.operations import (
    CACHE,
    STORED,
    TEXT,
    WITH_BODY,
    Operation,
    Parameter,
    Response,
)

_TAG: Final = "webhooks"
_MESSAGE_ID: Final = "msg_01kyc2mczvx3h2q5v9n8s4t7a0"
_URL: Final = "https://example.com/hooks/images"
_SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDI5i7kZyvPtM="  # noqa: S105 - of no client

_WEBHOOK: Final[Example] = {
    "url": _URL,
    "events": ["job.succeeded", "job.failed", "job.canceled"],
    "disabled_at": None,
    "disabled_reason": None,
}
_DELIVERY: Final[Example] = {
    "id": _MESSAGE_ID,
    "type": "job.succeeded",
    "created_at": "2026-11-25T03:43:31.675876Z",
    "job_id": JOB_ID,
    "host": "example.com",
    "status": "pending",
    "reason": None,
    "next_at": "2026-11-25T03:43:37.311492Z",
    "attempts": [
        {"at": "2026-11-25T03:43:32.104117Z", "status": 500, "error": None, "ms": 41},
    ],
}

MESSAGE: Final[dict[str, Any]] = {
    "type": "job.succeeded",
    "timestamp": SUCCEEDED_JOB["completed_at"],
    "data": SUCCEEDED_JOB,
}
MESSAGE_HEADERS: Final = (
    Parameter("webhook-id", "header", "The message's id, the same at each attempt.", TEXT),
    Parameter("webhook-timestamp", "header", "Seconds since 1970, of this attempt.", TEXT),
    Parameter(
        "webhook-signature", "header", "`v1,` and base64; several of them behind spaces.", TEXT
    ),
)

_ID: Final = Parameter(
    "id", "path", "The delivery's id.", TEXT | {"pattern": f"^{MESSAGE_ID.pattern}$"}
)
_OF_A_DELIVERY: Final = (NotFoundError, *STORED)

OPERATIONS: Final = (
    Operation(
        method="get",
        path="/webhook",
        id="getWebhook",
        tag=_TAG,
        summary="Read where messages are sent",
        responses=(Response(200, "The endpoint.", (WebhookResponse,), (CACHE,), example=_WEBHOOK),),
        errors=(NotFoundError, *STORED),
    ),
    Operation(
        method="put",
        path="/webhook",
        id="setWebhook",
        tag=_TAG,
        summary="Set where messages are sent, or enable it again",
        description="It is of all jobs of the client. A request's own `webhook` takes its place.",
        body=WebhookRequest,
        body_examples={"All ends": {"url": _URL}},
        responses=(Response(200, "The endpoint.", (WebhookResponse,), (CACHE,), example=_WEBHOOK),),
        errors=(*WITH_BODY, *STORED),
    ),
    Operation(
        method="delete",
        path="/webhook",
        id="removeWebhook",
        tag=_TAG,
        summary="Send nothing any more",
        description="What waits to be sent to it is canceled. The secret stays.",
        responses=(Response(204, "There is no endpoint."),),
        errors=STORED,
    ),
    Operation(
        method="get",
        path="/webhook/secret",
        id="getWebhookSecret",
        tag=_TAG,
        summary="Read the secret by which receivers verify messages",
        description="It needs the scope `generate`: who knows the secret can forge messages.",
        responses=(
            Response(
                200,
                "The secret.",
                (WebhookSecretResponse,),
                (CACHE,),
                example={"secret": _SECRET, "old_secret_until": None},
            ),
        ),
        errors=STORED,
    ),
    Operation(
        method="post",
        path="/webhook/secret/rotate",
        id="rotateWebhookSecret",
        tag=_TAG,
        summary="Replace the secret",
        description="Messages are signed with the old one too, for as long as you say.",
        body=RotateRequest,
        body_examples={"A day with both": {"keep_old_seconds": 86_400}},
        responses=(
            Response(
                200,
                "The new secret.",
                (WebhookSecretResponse,),
                (CACHE,),
                example={"secret": _SECRET, "old_secret_until": "2026-11-26T03:43:31.675876Z"},
            ),
        ),
        errors=(*WITH_BODY, *STORED),
    ),
    Operation(
        method="get",
        path="/webhook/deliveries",
        id="listDeliveries",
        tag=_TAG,
        summary="List the messages of 30 days, newest first",
        query=DeliveriesQuery,
        responses=(
            Response(
                200,
                "A page of deliveries. With `status` it can have fewer than `limit`, or none, and "
                "yet a `next_cursor`.",
                (DeliveryListResponse,),
                (CACHE,),
                example={"deliveries": [_DELIVERY], "next_cursor": None},
            ),
        ),
        errors=STORED,
    ),
    Operation(
        method="get",
        path="/webhook/deliveries/{id}",
        id="getDelivery",
        tag=_TAG,
        summary="Read what became of a message",
        parameters=(_ID,),
        responses=(
            Response(200, "The delivery.", (DeliveryResponse,), (CACHE,), example=_DELIVERY),
        ),
        errors=_OF_A_DELIVERY,
    ),
    Operation(
        method="post",
        path="/webhook/deliveries/{id}/replay",
        id="replayDelivery",
        tag=_TAG,
        summary="Send a message again, under its id",
        parameters=(_ID,),
        responses=(Response(202, "The delivery, which waits.", (DeliveryResponse,)),),
        errors=(DeliveryPendingError, *_OF_A_DELIVERY),
    ),
    Operation(
        method="post",
        path="/webhook/replay",
        id="replayDeliveries",
        tag=_TAG,
        summary="Send the messages of a time again",
        description="Up to 100 of them: repeat the call with `next_cursor` until it is null.",
        body=ReplayRequest,
        body_examples={"All that failed": {"since": "2026-11-25T00:00:00Z"}},
        responses=(Response(202, "How many wait now.", (ReplayResponse,)),),
        errors=(*WITH_BODY, *STORED),
    ),
    Operation(
        method="post",
        path="/webhook/test",
        id="testWebhook",
        tag=_TAG,
        summary="Send a test to the endpoint",
        responses=(Response(202, "The delivery, which waits.", (DeliveryResponse,)),),
        errors=(NotFoundError, *STORED),
    ),
)
