"""The bearer token and the body of a request."""

import pytest

from tests.support.servers.model_server import TOKEN, ModelServerClient, run_model_server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 403),
        ({"Authorization": "Bearer caf\u00e9"}, 403),
    ],
)
def test_without_the_token_the_request_is_not_even_parsed(
    client: ModelServerClient, headers: dict[str, str], status: int
) -> None:
    response = ModelServerClient(client.url, headers).generate(prompt="a fox", steps="wrong")
    assert response.status_code == status
    assert list(response.json()) == ["message"]
    assert ("WWW-Authenticate" in response.headers) is (status == 401)


def test_the_case_of_the_scheme_does_not_matter(client: ModelServerClient) -> None:
    other = ModelServerClient(client.url, {"Authorization": f"bearer {TOKEN}"})
    assert other.post(b"{}").status_code == 422


@pytest.mark.parametrize(
    ("body", "where", "kind"),
    [
        (b"", ["body"], "json_invalid"),
        (b"{", ["body"], "json_invalid"),
        (b'{"prompt": "\xff"}', ["body"], "json_invalid"),
        (b'{"prompt": "\\ud800"}', ["body"], "json_invalid"),
        (b"[" * 100_000, ["body"], "json_invalid"),
        (b"[]", ["body"], "model_type"),
        (b"null", ["body"], "model_type"),
        (b"NaN", ["body"], "model_type"),
        (b'{"prompt": NaN}', ["body", "prompt"], "string_type"),
        (b'{"prompt": "x", "cfg_scale": NaN}', ["body", "cfg_scale"], "finite_number"),
        (b'{"prompt": "x", "strength": Infinity}', ["body", "strength"], "finite_number"),
        (b'{"prompt": "x", "seed": [-Infinity]}', ["body", "seed", "list", 0], "int_type"),
        (b'{"prompt": "x", "more": NaN}', ["body", "more"], "extra_forbidden"),
        (b'{"prompt": "x", "steps": 1e999}', ["body", "steps"], "int_type"),
        (b'{"prompt": "x", "width": 8}', ["body"], "size"),
    ],
)
def test_a_wrong_body_is_a_422_in_the_shape_of_fastapi(
    client: ModelServerClient, body: bytes, where: list[str | int], kind: str
) -> None:
    response = client.post(body)
    assert response.status_code == 422
    [error] = response.json()["detail"]
    assert sorted(error) == ["loc", "msg", "type"]
    assert (error["loc"], error["type"]) == (where, kind)


def test_a_body_over_the_limit_is_a_413_with_or_without_a_content_length() -> None:
    largest = b'{"prompt": "x", "steps": 0}'.ljust(1000)
    with run_model_server(max_body_bytes=1000) as client:
        assert client.post(largest).status_code == 422
        assert client.post(largest + b" ").status_code == 413
        assert client.post(iter([largest, b" "])).status_code == 413
        assert client.post(b" " * 1_000_000).json()["message"].endswith("1000 bytes.")
