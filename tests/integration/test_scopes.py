"""What a token is for, at every route: the functions on moto, by the sample events."""

from typing import Any

import pytest

from sd3.adapters.aws import Aws
from tests.integration.conftest import Functions, load_event

READS = ("job", "list_jobs", "image", "usage")
GENERATES = ("cancel", "delete")


def event(name: str, **authorizer: str | None) -> dict[str, Any]:
    """Make a sample event with this authorizer context; None removes a value."""
    sample = load_event(name)
    context = sample["requestContext"]["authorizer"] | authorizer
    sample["requestContext"]["authorizer"] = {k: v for k, v in context.items() if v is not None}
    return sample


@pytest.mark.parametrize("scopes", ["", "read", "GENERATE", "generated"])
def test_without_the_scope_generate_nothing_is_generated(
    aws: Aws, functions: Functions, scopes: str
) -> None:
    for name in ("generate", "reproduce"):
        response = functions.generate(event(name, scopes=scopes))
        assert (response["statusCode"], response["json"]["code"]) == (403, "forbidden")
        assert "scope generate" in response["json"]["message"]
    assert aws.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 0


@pytest.mark.parametrize(
    ("names", "has", "needs"), [(READS, "generate", "read"), (GENERATES, "read", "generate")]
)
def test_every_route_names_the_scope_that_it_needs(
    functions: Functions, names: tuple[str, ...], has: str, needs: str
) -> None:
    functions.generate(load_event("generate"))
    for name in names:
        rejected = functions.jobs(event(name, scopes=has))
        assert (rejected["statusCode"], rejected["json"]["code"]) == (403, "forbidden")
        assert f"scope {needs}" in rejected["json"]["message"]
        assert functions.jobs(event(name, scopes=needs))["statusCode"] != 403


def test_a_client_of_an_older_authorizer_has_all_scopes(functions: Functions) -> None:
    assert functions.generate(event("generate", scopes=None, max_images=None))["statusCode"] == 200
    assert functions.jobs(event("job", scopes=None))["statusCode"] == 200


def test_health_is_for_everybody(functions: Functions) -> None:
    assert functions.jobs(load_event("health"))["statusCode"] == 200


def test_a_client_generates_as_many_images_as_it_may(functions: Functions) -> None:
    sample = event("generate", max_images="2") | {"body": '{"prompt": "x", "num_images": 3}'}
    response = functions.generate(sample)
    assert response["statusCode"] == 422
    assert response["json"]["detail"] == [
        {
            "loc": ["body", "num_images"],
            "msg": "Input should be less than or equal to 2 for this client",
            "type": "less_than_equal",
        }
    ]
    sample |= {"body": '{"prompt": "x", "num_images": 2}'}
    assert functions.generate(sample)["statusCode"] == 200
