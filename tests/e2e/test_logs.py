"""What the deployed stack logs: requests at every entrypoint, and then the logs of all tests."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
import requests

from local.stack import Stack
from tests.e2e.test_jobs import upstream_of_generate
from tests.support.canary_client import CanaryClient, EchoingSd3
from tests.support.factories.canaries import PATTERNS, Canaries
from tests.support.polling import wait_for
from tests.support.servers.jwt_issuer import LoopbackIssuer

SAMPLES: Final = {
    "a token": "sd3_" + "x" * 43,
    "a JWT": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    "an Authorization header": "Authorization: Bearer something-else",
    "a webhook's secret": "whsec_" + "x" * 43 + "=",
    "a signed link": "https://bucket/key?X-Amz-Signature=0",
    "base64 of something large": b64encode(bytes(300)).decode(),
    "a validation error's text": "type=string_type, input_value='x'",
}
"""One of each of PATTERNS."""
_PAGE: Final = 10_000


class Scene(NamedTuple):
    """The texts that were sent, the jobs that ended, and the ids that the log must contain."""

    canaries: Canaries
    ended: tuple[str, ...]
    ids: tuple[str, ...]


def messages(stack: Stack) -> dict[str, list[str]]:
    """Return everything that the log groups contain."""
    logs = stack.deployed.client("logs")

    def read() -> dict[str, list[str]] | None:
        try:
            groups = logs.get_paginator("describe_log_groups").paginate()
            names = [group["logGroupName"] for page in groups for group in page["logGroups"]]
            return {name: list(_messages(logs, name)) for name in names}
        except logs.exceptions.ClientError:  # the embedded AWS fails while a function logs
            return None

    return wait_for(read, what="readable log")


def _messages(logs: Any, group: str) -> Iterator[str]:
    since = 0
    while True:  # the embedded AWS has no token for the next page
        page = logs.filter_log_events(logGroupName=group, startTime=since, limit=_PAGE)["events"]
        yield from (event["message"] for event in page)
        if len(page) < _PAGE:
            return
        since = page[-1]["timestamp"]


def log_of(stack: Stack) -> str:
    return "\n".join(line for lines in messages(stack).values() for line in lines)


@pytest.fixture(scope="module")
def scene(stack: Stack, issuer: LoopbackIssuer) -> Scene:
    """Send texts to every entrypoint."""
    with requests.Session() as http:
        http.trust_env = False
        client = CanaryClient(stack, http)
        generated = client.generate("generated")
        client.redirected(generated["id"])
        queued = client.generate("queued", Prefer="respond-async")
        forbidden = client.generate("forbidden", prompt="sketch-forbidden ")
        rejected = [said["request_id"] for said in client.rejected()]
        client.unauthorized(issuer)
        client.uploaded()
        told = [*client.told()]
        good, bad = client.dropped()
        with EchoingSd3(401, 500) as echoing, upstream_of_generate(stack, echoing.url):
            failed = [client.generate(f"failed {number}") for number in range(2)]
            assert echoing.statuses == []
        ended = (
            generated["id"],
            queued["id"],
            good,
            *(each["job_id"] for each in (forbidden, *failed)),
        )
        return Scene(client.canaries, ended, (*ended, *rejected, *told, bad))


def test_the_log_names_what_happened(stack: Stack, scene: Scene) -> None:
    def missing() -> list[str]:
        log = log_of(stack)
        return [each for each in scene.ids if each not in log]

    with suppress(AssertionError):  # the next line says what is missing
        wait_for(lambda: not missing(), what="log of the scene")
    assert missing() == []
    assert "UpstreamKeyError" in log_of(stack)
    assert "UpstreamFailedError" in log_of(stack)


def test_every_end_is_measured(stack: Stack, scene: Scene) -> None:
    def are_counted() -> bool:
        lines = log_of(stack).splitlines()
        metrics = [json.loads(line) for line in lines if line.startswith('{"_aws"')]
        counted = {line["job_id"] for line in metrics if "JobsEnded" in line}
        return counted >= set(scene.ended)

    assert wait_for(are_counted, what="metric of each end")


def test_every_function_logs_to_the_one_group(stack: Stack, scene: Scene) -> None:
    ours = stack.deployed.resource("FunctionsLogGroup")
    assert [name for name, lines in messages(stack).items() if lines] == [ours]


def test_no_log_contains_texts_of_clients(stack: Stack, scene: Scene) -> None:
    assert scene.canaries.found(log_of(stack)) == []


def test_nor_do_the_processes_logs(stack: Stack, scene: Scene) -> None:
    for child in stack.children:  # the embedded AWS writes down what some functions print
        assert scene.canaries.found(child.log.read_text()) == [], child.name


def test_what_a_log_held_would_be_found(stack: Stack, scene: Scene) -> None:
    logs, group = stack.deployed.client("logs"), stack.deployed.resource("FunctionsLogGroup")
    said = scene.canaries.said
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": text} for text in (*said.values(), *SAMPLES.values())]
    logs.create_log_stream(logGroupName=group, logStreamName="planted")
    try:
        logs.put_log_events(logGroupName=group, logStreamName="planted", logEvents=events)
        assert scene.canaries.found(log_of(stack)) == [*said, *PATTERNS]
    finally:
        logs.delete_log_stream(logGroupName=group, logStreamName="planted")
    assert scene.canaries.found(log_of(stack)) == []


def test_every_pattern_has_its_sample() -> None:
    found = {what: Canaries().found(text) for what, text in SAMPLES.items()}
    assert found == {what: [what] for what in PATTERNS}


@pytest.mark.parametrize(
    "write",
    [str, json.dumps, quote, repr, str.upper, lambda text: json.dumps(json.dumps(text))]
    + [
        lambda text, lead=lead: b64encode(f"{'x' * lead}{text}".encode()).decode()
        for lead in range(3)
    ],
)
def test_a_text_is_known_however_it_is_written(write: Callable[[str], str]) -> None:
    canaries = Canaries()
    text = canaries.new("prompt")
    assert canaries.found(write(text)) == ["prompt"]
    assert canaries.found(write("another")) == []
