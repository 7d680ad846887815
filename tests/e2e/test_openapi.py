"""The deployed API, tested with requests that are generated from its own document."""

import json
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
from sd3.domain.request_checks import MAX_IMAGES
from tests.support.operator import Operator

AnyCase = Case[Any]

COMMITTED: Final = json.loads((ROOT / "layers/sd3/sd3/api/openapi.json").read_text())
ROUTES: Final = [(method, path) for path, item in COMMITTED["paths"].items() for method in item]
CLOSED: Final = [(m, p) for m, p in ROUTES if COMMITTED["paths"][p][m].get("security") != []]
UNKNOWN: Final = "sd3_" + "x" * 43
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int | None:
    """Return how many requests each route gets; None sends the same few every time."""
    wanted: int | None = request.config.getoption("cases")
    return wanted


@pytest.fixture(scope="session")
def schema(stack: Stack) -> BaseSchema:
    """Load the document as it is served."""
    with requests.Session() as session:
        session.trust_env = False
        served = session.get(f"{stack.api_url}/openapi.json").json()
    # Schemathesis generates nothing from three alternatives here. It need not: a request with two
    # init images is an error that the document has, too.
    request = served["components"]["schemas"]["GenerateRequest"]
    request["not"] = request["not"]["anyOf"][0]
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    return schemathesis.openapi.from_dict(served, config=config)


@pytest.fixture
def job_ids(stack: Stack, client: requests.Session) -> list[str]:
    """Provide two of the client's jobs: one has ended, and one waits, runs or has ended too."""
    responses = [
        client.post(
            f"{stack.api_url}/generate/sd3", json={"prompt": "a fox", "steps": 1}, headers=headers
        )
        for headers in ({}, {"Prefer": "respond-async"})
    ]
    assert [response.status_code for response in responses] == [200, 202]
    return [response.json()["id"] for response in responses]


def generated_soon(body: Any) -> Any:
    """Limit a valid number of images in the body to two."""
    match body:
        case {"num_images": int(number), "seed": [*seeds]} if len(seeds) == number:
            return body | {"num_images": min(number, 2), "seed": seeds[:2]}
        case {"num_images": int(number)} if number > 2:
            return body | {"num_images": 2 if number <= MAX_IMAGES else number}
    return body


def requests_to(
    schema: BaseSchema, method: str, path: str, *, job_ids: list[str]
) -> st.SearchStrategy[AnyCase]:
    """Right and wrong requests; of those that name a job, one half names one that is there."""
    operation = schema[path][method]
    modes = [GenerationMode.POSITIVE]
    if (method, path) in CLOSED:  # no request to the others is wrong
        modes.append(GenerationMode.NEGATIVE)

    def about(case: AnyCase, job_id: str | None) -> AnyCase:
        if job_id is not None:
            there = {"id": job_id, "index": 0}
            case.path_parameters |= {name: there[name] for name in case.path_parameters}
        case.body = generated_soon(case.body)
        return case

    sent = st.one_of([operation.as_strategy(mode) for mode in modes])
    known = st.sampled_from([*job_ids, None, None]) if job_ids else st.none()
    return st.builds(about, sent, known)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{m} {p}" for m, p in ROUTES])
def test_every_response_is_in_the_document(
    stack: Stack,
    client: requests.Session,
    schema: BaseSchema,
    request: pytest.FixtureRequest,
    cases: int | None,
    method: str,
    path: str,
) -> None:
    job_ids = request.getfixturevalue("job_ids") if path.startswith("/jobs/{id}") else []

    @given(requests_to(schema, method, path, job_ids=job_ids))
    @settings(
        max_examples=cases or 8,
        derandomize=cases is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def responses(case: AnyCase) -> None:
        case.call_and_validate(
            base_url=stack.api_url, session=client, checks=CHECKS, allow_redirects=False
        )

    responses()


@pytest.mark.parametrize(("method", "path"), CLOSED, ids=[f"{m} {p}" for m, p in CLOSED])
@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": f"Bearer {UNKNOWN}"}, 403)]
)
def test_an_unauthorized_client_gets_the_error(
    stack: Stack,
    http: requests.Session,
    schema: BaseSchema,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    case = schema[path][method].Case(
        path_parameters={"id": "x", "index": 0, "model": "sd3"}, headers=headers
    )
    response = case.call_and_validate(base_url=stack.api_url, session=http, checks=CHECKS)
    assert response.status_code == status


@pytest.mark.parametrize(
    ("name", "limit", "status"),
    [("poor", {"BUDGET": "0.001"}, 402), ("slow", {"PER_MINUTE": "1"}, 429)],
)
def test_a_client_at_its_limit_gets_the_error(
    stack: Stack,
    operator: Operator,
    http: requests.Session,
    schema: BaseSchema,
    name: str,
    limit: dict[str, str],
    status: int,
) -> None:
    case = schema["/generate/sd3"]["post"].Case(
        body={"prompt": "a fox", "steps": 1},
        media_type="application/json",
        headers={"Authorization": f"Bearer {operator.token(name, **limit)}"},
    )
    responses = [  # three, since a minute can end between two
        case.call_and_validate(base_url=stack.api_url, session=http, checks=CHECKS)
        for _ in range(3)
    ]
    assert {response.status_code for response in responses} == {200, status}


def test_the_document_that_is_served_is_the_one_of_this_checkout(
    stack: Stack, http: requests.Session
) -> None:
    response = http.get(f"{stack.api_url}/openapi.json")
    assert response.json() == COMMITTED
    known = {"If-None-Match": response.headers["ETag"]}
    assert http.get(f"{stack.api_url}/openapi.json", headers=known).status_code == 304


def test_the_page_is_served_with_its_files(stack: Stack, http: requests.Session) -> None:
    page = http.get(f"{stack.api_url}/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert 'src="docs/swagger-ui-bundle.js"' in page.text
    script = http.get(f"{stack.api_url}/docs/swagger-ui-bundle.js")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "SwaggerUIBundle" in script.text
