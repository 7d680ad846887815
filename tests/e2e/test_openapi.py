"""The deployed API, tried with requests that are made from the document that it serves itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.environment import ROOT
from local.stack import Stack

COMMITTED: Final = json.loads((ROOT / "layers/sd3/sd3/openapi.json").read_text())
ROUTES: Final = [(method, path) for path, item in COMMITTED["paths"].items() for method in item]
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int | None:
    """How many requests each route is to get; None to send the same few every time."""
    wanted: int | None = request.config.getoption("cases")
    return wanted


@pytest.fixture(scope="session")
def schema(stack: Stack) -> Iterator[BaseSchema]:
    """The document as it is served."""
    with requests.Session() as session:
        session.trust_env = False
        served = session.get(f"{stack.api_url}/openapi.json")
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    yield schemathesis.openapi.from_dict(served.json(), config=config)


@pytest.fixture
def job_ids(stack: Stack, client: requests.Session) -> list[str]:
    """Two of the client's jobs: one that was drawn, one that waits or runs or was drawn too."""
    answers = [
        client.post(
            f"{stack.api_url}/generate/sd3", json={"prompt": "a fox", "steps": 1}, headers=headers
        )
        for headers in ({}, {"Prefer": "respond-async"})
    ]
    assert [answer.status_code for answer in answers] == [200, 202]
    return [answer.json()["id"] for answer in answers]


def drawn_soon(case: Case) -> Case:
    """The case with no more than two pictures, if it asks for a number that is right."""
    body = case.body
    if isinstance(body, dict) and type(body.get("num_images")) is int:
        seeds = body.get("seed")
        body["num_images"] = min(body["num_images"], 2)
        if isinstance(seeds, list) and len(seeds) <= 16:
            body["seed"] = seeds[: body["num_images"]]
    return case


def requests_to(
    schema: BaseSchema, method: str, path: str, *, job_ids: list[str]
) -> st.SearchStrategy[Case]:
    """Right and wrong requests, the half of them that name a job about one that is there."""
    operation = schema[path][method]
    modes = [GenerationMode.POSITIVE]
    if operation.definition.raw.get("security") != []:  # what is open takes all that can be sent
        modes.append(GenerationMode.NEGATIVE)

    def about(case: Case, job_id: str | None) -> Case:
        if job_id is not None and "id" in case.path_parameters:
            case.path_parameters["id"] = job_id
        return drawn_soon(case)

    sent = st.one_of([operation.as_strategy(mode) for mode in modes])
    known = st.sampled_from([*job_ids, None, None]) if job_ids else st.none()
    return st.builds(about, sent, known)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{m} {p}" for m, p in ROUTES])
def test_every_answer_is_in_the_document(
    stack: Stack,
    client: requests.Session,
    schema: BaseSchema,
    request: pytest.FixtureRequest,
    cases: int | None,
    method: str,
    path: str,
) -> None:
    job_ids = request.getfixturevalue("job_ids") if "{id}" in path else []

    @given(requests_to(schema, method, path, job_ids=job_ids))
    @settings(
        max_examples=cases or 8,
        derandomize=cases is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def answers(case: Case) -> None:
        case.call_and_validate(
            base_url=stack.api_url, session=client, checks=CHECKS, allow_redirects=False
        )

    answers()


def test_the_document_that_is_served_is_the_one_of_this_checkout(
    stack: Stack, http: requests.Session
) -> None:
    answer = http.get(f"{stack.api_url}/openapi.json")
    assert answer.json() == COMMITTED
    known = {"If-None-Match": answer.headers["ETag"]}
    assert http.get(f"{stack.api_url}/openapi.json", headers=known).status_code == 304


def test_the_page_needs_nothing_else(stack: Stack, http: requests.Session) -> None:
    answer = http.get(f"{stack.api_url}/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "POST /generate/sd3" in answer.text
