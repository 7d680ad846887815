"""Processes that SnapStart restores from one snapshot: no two of them are alike."""

import io
import random
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from snapshot_restore_py import get_after_restore  # type: ignore[import-untyped]
from urllib3 import HTTPResponse

from sd3 import bootstrap


def restore() -> None:
    """Do what Lambda does in a restored process: run the registered hooks."""
    for hook, arguments, named in get_after_restore():
        hook(*arguments, **named)


def random_numbers() -> list[float]:
    return [bootstrap.clock().jitter(), random.random()]  # noqa: S311 - as botocore draws


def test_restored_processes_generate_different_numbers() -> None:
    snapshot = random.getstate()
    before = random_numbers()
    random.setstate(snapshot)
    assert random_numbers() == before  # without the hook, the restored ones would repeat them too
    numbers = [before]
    for _ in range(2):
        random.setstate(snapshot)
        restore()
        numbers.append(random_numbers())
    assert len({number for each in numbers for number in each}) == 6


def signature(client: Any) -> str:
    """Return the Authorization header of a call that goes nowhere."""
    sent: list[AWSPreparedRequest] = []

    def response(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        body = HTTPResponse(io.BytesIO(b"{}"), preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders(), body)

    client.meta.events.register("before-send", response)
    client.list_tables()
    signed: Any = sent[0].headers["Authorization"]  # bytes, whatever its type says
    return str(signed, "ascii")


def test_restored_processes_have_credentials_and_connections_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def become(name: str) -> Any:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        return bootstrap.clients()._client

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    restore()
    before = become("SNAPSHOT")
    assert become("FIRST") is before  # without the hook, the restored ones would repeat them too
    restore()
    first = become("FIRST")
    restore()
    second = become("SECOND")
    signatures = [signature(client) for client in (before, first, second)]
    assert [text.split("/")[0] for text in signatures] == [
        f"AWS4-HMAC-SHA256 Credential={name}" for name in ("SNAPSHOT", "FIRST", "SECOND")
    ]
    assert len({id(client._endpoint.http_session) for client in (before, first, second)}) == 3
    restore()
