"""The routes of batches: many requests at once, their counts, and their results."""

import hashlib
from typing import Any, Final

from sd3.api.app import Response, RestApi
from sd3.api.request import Request
from sd3.bootstrap import batch_service, prepare
from sd3.domain.batch import BatchesQuery, NewBatch
from sd3.domain.batch_request import BatchRequest

_NO_STORE: Final = {"Cache-Control": "no-store"}

app = RestApi(queries={"/batches": BatchesQuery})


@app.post("/batches")
def create(request: Request) -> Response:
    """Accept a batch and respond 202. With the Idempotency-Key of another one, it is that one."""
    asked = BatchRequest.parse(request.json_body())
    batch = batch_service().accept(
        NewBatch(
            client_id=request.client_id,
            client_name=request.client_name,
            limits=request.limits,
            store=batch_service().store_of(asked, client_id=request.client_id),
            fingerprint=hashlib.sha256(asked.model_dump_json().encode()).hexdigest(),
            key=request.idempotency_key(),
            metadata=asked.metadata,
        )
    )
    response = batch_service().to_response(batch)
    return Response(202, response, {"Location": f"batches/{batch.id}", **_NO_STORE})


@app.get("/batches")
def batches(request: Request) -> Response:
    """Respond 200 with a page of the client's batches, newest first."""
    query = request.query(BatchesQuery)
    page = batch_service().list(request.client_id, limit=query.limit, cursor=query.cursor)
    return Response(200, page, _NO_STORE)


@app.get("/batches/<id>")
def batch(request: Request, id: str) -> Response:
    """Respond 200 with the batch, and the counts of its lines as they are now."""
    found = batch_service().get(request.client_id, id)
    is_open = not found.status.is_terminal
    return Response(200, found, {**_NO_STORE, **({"Retry-After": "5"} if is_open else {})})


@app.get("/batches/<id>/results")
def results(request: Request, id: str) -> Response:
    """Redirect to the results, or respond 200 with their link if the client prefers JSON."""
    link = batch_service().results(request.client_id, id)
    headers = {**_NO_STORE, "Vary": "Accept"}
    if request.prefers_json():
        return Response(200, link, headers)
    return Response(302, headers={"Location": link.url, **headers})


@app.post("/batches/<id>/cancel")
def cancel(request: Request, id: str) -> Response:
    """Respond 202 with the batch, whose lines are canceled one after the other; 409 at its end."""
    return Response(202, batch_service().cancel(request.client_id, id))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Respond to an API Gateway proxy event."""
    return app.resolve(event, context)


prepare(batch_service)
