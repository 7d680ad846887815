"""A client that sends secret texts to every entrypoint."""

import base64
import json
from collections.abc import Iterator
from secrets import token_hex, token_urlsafe
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from local.stack import Stack
from tests.support.factories.canaries import Canaries
from tests.support.factories.images import jpeg
from tests.support.polling import wait_for
from tests.support.servers.jwt_issuer import LoopbackIssuer
from tests.support.servers.scripted_server import MisbehavingServer, Received, Reply, http_reply


class EchoingSd3(MisbehavingServer):
    """Fails every call with an error that quotes all arguments."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.statuses = list(statuses)

    def next_reply(self, received: Received) -> Reply:
        key, body = received.headers["authorization"], received.body.decode()
        error = {"name": key, "code": key.split()[-1], "message": body, "detail": body}
        return http_reply(self.statuses.pop(0), json.dumps(error).encode())


class EchoingReceiver(MisbehavingServer):
    """Takes every second message, and answers each with all that it got."""

    def next_reply(self, received: Received) -> Reply:
        with self._lock:
            self.requests.append(received)
            status = 500 if len(self.requests) % 2 else 200
        return http_reply(status, str([received.path, received.headers, received.body]).encode())


class CanaryClient:
    """A new client, and all texts that it has sent or received."""

    def __init__(self, stack: Stack, http: requests.Session) -> None:
        self.stack, self.http, self.canaries = stack, http, Canaries()
        self.client_id = f"logs-{token_hex(4)}"
        token = stack.deployed.issue_token(self.client_id)
        http.headers["Authorization"] = f"Bearer {self.canaries.keep('token', token)}"
        keys = stack.deployed.client("secretsmanager").get_secret_value(SecretId="upstream")
        self.canaries.keep("upstream's key", json.loads(keys["SecretString"])["octoai"])

    def generate(self, where: str, *, prompt: str = "", **headers: str) -> dict[str, Any]:
        """Request an image with a canary in each field, and return the response."""
        canary = self.canaries.new
        image = jpeg() + token_hex(64).encode()
        body = {
            "prompt": prompt + canary(f"{where}'s prompt"),
            "negative_prompt": canary(f"{where}'s negative prompt"),
            "metadata": {"order": canary(f"{where}'s metadata")},
            "init_image": base64.b64encode(image).decode(),
            "response_format": "b64_json",
            "steps": 2,
        }
        key = {"Idempotency-Key": self.canaries.word(f"{where}'s Idempotency-Key")}
        response = self.call("POST", "/generate/sd3", json=body, headers=key | headers)
        return self._kept(where, response)

    def redirected(self, job_id: str) -> None:
        """Follow the stable address of an image to its link."""
        url = self.call("GET", f"/jobs/{job_id}/images/0")["url"]
        self._keep_link("redirect", url)
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(url, timeout=60).status_code == 200

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON of a response; a redirect is not followed, its address is in `url`."""
        response = self.http.request(
            method, self.stack.api_url + path, timeout=60, allow_redirects=False, **options
        )
        address = response.headers.get("Location")
        content: dict[str, Any] = (
            {"url": address} if response.status_code == 302 else response.json()
        )
        return content

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Requests that come to nothing."""
        canary, word = self.canaries.new, self.canaries.word
        wrong = {
            "prompt": canary("invalid request's prompt"),
            word("unknown field"): canary("its value"),
        }
        yield self.call("POST", "/generate/sd3", json=wrong)
        yield self.call("POST", "/generate/sd3", data=canary("body that is no JSON"))
        url = f"https://127.0.0.1:1024/{word('path of a URL')}?token={word('token of a URL')}"
        yield self.call("POST", "/generate/sd3", json={"prompt": "a fox", "init_image_url": url})
        yield self.call("GET", f"/jobs/{word('job id')}")
        yield self.call("GET", "/jobs", params={"cursor": word("cursor")})
        yield self.call("POST", "/uploads", json={"content_type": canary("content type")})
        url = f"https://hooks.example:22/{word('path of no webhook')}"
        yield self.call("PUT", "/webhook", json={"url": url})

    def unauthorized(self, issuer: LoopbackIssuer) -> None:
        """Tokens that nobody holds."""
        keep = self.canaries.keep
        tokens = (
            keep("unknown token", "sd3_" + (token_urlsafe(32) + "x" * 43)[:43]),
            keep("malformed token", token_hex(20)),
            keep("expired JWT", issuer.token(sub=self.canaries.word("subject"), exp=1)),
        )
        for token in tokens:
            self.call("GET", "/jobs", headers={"Authorization": f"Bearer {token}"})

    def told(self) -> Iterator[str]:
        """Be told of two ends by webhooks, of which one is missed; return the messages' ids."""
        word = self.canaries.word
        secret = self.call("GET", "/webhook/secret")["secret"]
        self.canaries.keep("webhook's secret", secret)
        with EchoingReceiver() as receiver:
            for whose in ("the client's webhook", "the request's webhook"):
                path = f"{word(f'path of {whose}')}?token={word(f'token of {whose}')}"
                webhook = {"url": f"{receiver.url}/{path}"}
                own = {"webhook": webhook} if "request" in whose else {}
                if not own:
                    self.call("PUT", "/webhook", json=webhook)
                self.call("POST", "/generate/sd3", json={"prompt": "a fox", "steps": 1} | own)
            wait_for(lambda: len(receiver.requests) >= 2, what="messages")
            yield from {one.headers["webhook-id"] for one in receiver.requests}
        self.http.delete(f"{self.stack.api_url}/webhook", timeout=60)
        rotated = self.call("POST", "/webhook/secret/rotate", json={})["secret"]
        self.canaries.keep("rotated secret", rotated)

    def uploaded(self) -> None:
        """Get a form for an image, and upload the image."""
        form = self.call("POST", "/uploads", json={"content_type": "image/jpeg"})
        for name in ("policy", "x-amz-signature", "x-amz-security-token"):
            if name in form["fields"]:
                self.canaries.keep(f"the form's {name}", form["fields"][name])
        with requests.Session() as session:
            session.trust_env = False
            session.post(form["url"], data=form["fields"], files={"file": jpeg()}, timeout=60)

    def dropped(self) -> Iterator[str]:
        """Upload files to the inbox, one of them invalid; return the ids of jobs or results."""
        canary = self.canaries.new
        outputs, s3 = self.stack.deployed.outputs(), self.stack.deployed.client("s3")
        bodies = {
            "good": {"prompt": canary("file's prompt")},
            "bad": {"nonsense": canary("bad file")},
        }
        for kind, body in bodies.items():
            name = self.canaries.word(f"{kind} file's name")
            key = f"{self.client_id}/{name}.json"
            s3.put_object(Bucket=outputs["InboxBucket"], Key=key, Body=json.dumps(body).encode())
            location = (outputs["ImagesBucket"], f"{self.client_id}/inbox/{name}.json")
            result = wait_for(lambda at=location: _object(s3, *at), what="result")  # type: ignore[misc]
            yield result.get("id") or result["request_id"]

    def _kept(self, where: str, response: dict[str, Any]) -> dict[str, Any]:
        """Remember the parts of a response that no log may contain: links and images."""
        for image in response.get("images", []):
            self._keep_link(where, image["url"])
            self.canaries.keep(f"{where}'s image", image["image_b64"][1000:1100])
        return response

    def _keep_link(self, where: str, url: str) -> None:
        query = parse_qs(urlsplit(url).query)
        for name in ("X-Amz-Signature", "X-Amz-Security-Token"):
            if name in query:
                self.canaries.keep(f"{where}'s {name}", query[name][0])


def _object(s3: Any, bucket: str, key: str) -> Any:
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None
