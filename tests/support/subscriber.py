"""A client of the deployed stack that hears of its jobs by webhooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import requests

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import item_from
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from tests.support.polling import wait_for
from tests.support.servers.scripted_server import Received
from tests.support.servers.webhook_receiver import WebhookServer, verified


class Subscriber:
    """Calls the API as one client, and reads what the receiver gets for it."""

    def __init__(self, stack: Stack, server: WebhookServer) -> None:
        self.client_id = f"hooks-{uuid4().hex[:8]}"
        self.server = server
        self._stack = stack
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {stack.deployed.issue_token(self.client_id)}"

    @classmethod
    @contextmanager
    def of(cls, stack: Stack, server: WebhookServer) -> Iterator[Self]:
        """Make a client, and close its connections afterwards."""
        subscriber = cls(stack, server)
        with subscriber._http:
            yield subscriber

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Call the API, which must take the request; return its response's JSON."""
        response = self.ask(method, path, body, **headers)
        assert response.ok, response.text
        return response.json() if response.content else None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """Call the API, whatever it responds; `headers` are in snake_case."""
        return self._http.request(
            method,
            self._stack.api_url + path,
            json=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            timeout=60,
        )

    def generate(self, **fields: Any) -> Any:
        """Request an image; return the response's JSON, which may be an error."""
        request = {"prompt": "a fox", "steps": 1} | fields
        return self.ask("POST", "/generate/sd3", request).json()

    def set(self, url: str) -> None:
        self.call("PUT", "/webhook", {"url": url})

    @property
    def secret(self) -> str:
        return str(self.call("GET", "/webhook/secret")["secret"])

    def got(self, url: str, count: int = 1) -> list[Received]:
        """Wait until an endpoint has so many messages, and return all that it has."""
        received = self.server.received

        def look() -> list[Received] | None:
            return received(url) if len(received(url)) >= count else None

        return wait_for(look, what=f"{count} messages")

    def heard(self, url: str, count: int = 1) -> list[Any]:
        """Wait for messages, and read them by the client's secret."""
        return [verified(message, self.secret) for message in self.got(url, count)]

    def log(self, **query: str) -> list[Any]:
        """Return a page of the client's deliveries."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return list(self.call("GET", f"/webhook/deliveries?{text}")["deliveries"])

    def delivery(self, of: str, until: Callable[[Any], bool] = bool) -> Any:
        """Wait until a delivery is in the log as `until` asks, and return it.

        `of` is its id or that of its job.
        """

        def look() -> Any:
            found = [one for one in self.log() if of in (one["id"], one["job_id"])]
            return found[0] if found and until(found[0]) else None

        return wait_for(look, what=f"delivery of {of}")

    def end(self, webhook: str | None = None, status: JobStatus = JobStatus.SUCCEEDED) -> Job:
        """Write the end of a job as a function does that dies right after it."""
        now = datetime.now(UTC)
        request = {"prompt": "a fox", "webhook": webhook and {"url": webhook}}
        job = Job(
            id=uuid4().hex,
            client_id=self.client_id,
            status=status,
            created_at=now,
            expires_at=now + timedelta(days=1),
            request=GenerateRequest.model_validate(request),
            seeds=(7,),
            completed_at=now,
        )
        table = self._stack.deployed.outputs()["JobsTable"]
        self._stack.deployed.client("dynamodb").put_item(TableName=table, Item=item_from(job))
        return job
