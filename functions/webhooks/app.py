"""The routes of webhooks: a client's endpoint, its secret, and the log of deliveries."""

from typing import Any, Final

from sd3.api.app import Response, RestApi
from sd3.api.request import Request
from sd3.bootstrap import prepare, webhook_service
from sd3.domain.client import GENERATE, require
from sd3.domain.webhook import WebhookRequest
from sd3.domain.webhook_request import DeliveriesQuery, ReplayRequest, RotateRequest

_NO_STORE: Final = {"Cache-Control": "no-store"}

app = RestApi(queries={"/webhook/deliveries": DeliveriesQuery})


@app.get("/webhook")
def webhook(request: Request) -> Response:
    """Respond 200 with the client's endpoint, or 404 if it has none."""
    return Response(200, webhook_service().get(request.client_id), _NO_STORE)


@app.put("/webhook")
def set_webhook(request: Request) -> Response:
    """Set the client's endpoint, or enable it again, and respond 200 with it."""
    asked = request.body(WebhookRequest)
    return Response(200, webhook_service().set(request.client_id, asked), _NO_STORE)


@app.delete("/webhook")
def remove_webhook(request: Request) -> Response:
    """Remove the client's endpoint and respond 204, also if it has none."""
    webhook_service().remove(request.client_id)
    return Response(204)


@app.get("/webhook/secret")
def secret(request: Request) -> Response:
    """Respond 200 with the secret by which receivers verify messages.

    Who knows it can forge messages. So it takes the scope of writes.
    """
    require(GENERATE, request.scopes)
    return Response(200, webhook_service().get_secret(request.client_id), _NO_STORE)


@app.post("/webhook/secret/rotate")
def rotate_secret(request: Request) -> Response:
    """Replace the secret and respond 200 with the new one. Both sign for a while."""
    asked = request.body(RotateRequest)
    return Response(200, webhook_service().rotate_secret(request.client_id, asked), _NO_STORE)


@app.get("/webhook/deliveries")
def deliveries(request: Request) -> Response:
    """Respond 200 with a page of the client's deliveries, newest first."""
    query = request.query(DeliveriesQuery)
    return Response(200, webhook_service().list_deliveries(request.client_id, query), _NO_STORE)


@app.get("/webhook/deliveries/<id>")
def delivery(request: Request, id: str) -> Response:
    """Respond 200 with one delivery and its attempts."""
    return Response(200, webhook_service().get_delivery(request.client_id, id), _NO_STORE)


@app.post("/webhook/deliveries/<id>/replay")
def replay(request: Request, id: str) -> Response:
    """Begin a delivery again and respond 202, or 409 if it has not ended."""
    return Response(202, webhook_service().replay(request.client_id, id))


@app.post("/webhook/replay")
def replay_all(request: Request) -> Response:
    """Begin the deliveries of a time again, and respond 202 with how many."""
    asked = request.body(ReplayRequest)
    return Response(202, webhook_service().replay_all(request.client_id, asked))


@app.post("/webhook/test")
def test(request: Request) -> Response:
    """Send a test to the client's endpoint, and respond 202 with its delivery."""
    return Response(202, webhook_service().test(request.client_id))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Respond to an API Gateway proxy event."""
    return app.resolve(event, context)


prepare(webhook_service)
