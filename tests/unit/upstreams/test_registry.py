"""The upstreams by their names in UPSTREAM, created from a deployment's settings."""

import time
from dataclasses import replace

import pytest

from sd3.errors import StorageError
from sd3.settings import Settings
from sd3.upstreams import UPSTREAMS
from sd3.upstreams.base import Upstream, UpstreamOptions
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.tasks import make_task
from tests.support.servers.vendors.bedrock import NoKey, signer

SETTINGS = Settings()


def created(name: str, *, base_url: str = "", settings: Settings = SETTINGS) -> Upstream:
    options = UpstreamOptions(base_url, FakeKey(), settings, signer("secret"))
    return UPSTREAMS[name](options)


@pytest.mark.parametrize("name", UPSTREAMS)
def test_upstream_has_the_name_that_it_is_chosen_by(name: str) -> None:
    assert created(name, base_url="https://upstream.example").name == name


@pytest.mark.parametrize("name", ["stability", "bedrock"])
def test_vendors_have_an_address_of_their_own(name: str) -> None:
    assert created(name).name == name


def test_bedrock_has_its_address_in_the_domain_of_the_partition() -> None:
    settings = replace(SETTINGS, bedrock_region="us-gov-west-1", url_suffix="aws.example")
    signed: list[str] = []

    def sign(url: str, *_: object) -> dict[str, str]:
        signed.append(url)
        raise StorageError("stop")

    upstream = UPSTREAMS["bedrock"](UpstreamOptions("", NoKey(), settings, sign))
    with pytest.raises(StorageError):
        upstream.generate(make_task(deadline=time.monotonic() + 30))
    assert signed[0].startswith("https://bedrock-runtime.us-gov-west-1.aws.example/model/")


@pytest.mark.parametrize(
    ("name", "settings", "model"),
    [
        ("octoai", {}, None),
        ("openai", {}, None),
        ("openai", {"openai_model": "sd3.5"}, "sd3.5"),
        ("stability", {"stability_model": "sd3.5-medium"}, "sd3.5-medium"),
        (
            "bedrock",
            {"bedrock_model_id": "stability.sd3-5-large-v1:0"},
            "stability.sd3-5-large-v1:0",
        ),
    ],
)
def test_upstream_names_the_model_of_its_settings(
    name: str, settings: dict[str, str], model: str | None
) -> None:
    settings_of_model = replace(SETTINGS, **settings)  # type: ignore[arg-type] # texts alone
    found = created(name, base_url="https://upstream.example", settings=settings_of_model)
    assert found.model == model


@pytest.mark.parametrize("name", ["octoai", "openai"])
def test_others_need_one(name: str) -> None:
    with pytest.raises(ValueError, match="UPSTREAM_URL"):
        created(name)


def test_an_unknown_stability_model_is_an_error_at_creation() -> None:
    with pytest.raises(ValueError, match="STABILITY_MODEL is 'sd3-turbo'"):
        created("stability", settings=replace(SETTINGS, stability_model="sd3-turbo"))
