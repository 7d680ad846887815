"""Every upstream, each with a server on loopback that follows its vendor's documents."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sd3.errors import (
    ContentPolicyError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
    UpstreamUnchargedError,
)
from sd3.http.auth import ApiKey
from sd3.http.session import HttpSession
from sd3.upstreams.base import Upstream
from sd3.upstreams.bedrock import BedrockUpstream
from sd3.upstreams.octoai import OctoaiUpstream
from sd3.upstreams.openai import OpenaiUpstream
from sd3.upstreams.stability import StabilityUpstream
from tests.support.servers.scripted_server import Reply
from tests.support.servers.vendors import bedrock, octoai, openai, stability
from tests.support.servers.vendors.bedrock import BedrockServer
from tests.support.servers.vendors.octoai import OctoaiServer
from tests.support.servers.vendors.openai import OpenaiServer
from tests.support.servers.vendors.server import VendorServer
from tests.support.servers.vendors.stability import StabilityServer


class Vendor(NamedTuple):
    """A vendor's server, the upstream for it, and what each of its errors comes to."""

    name: str
    serve: Callable[[], VendorServer]
    make: Callable[[str, ApiKey, HttpSession], Upstream]
    replies: Mapping[str, Reply]
    errors: Mapping[str, type[UpstreamError]]
    generates_from_images: bool = True
    filters: bool = True
    renews_its_key: bool = True


def _bedrock(url: str, key: ApiKey, http: HttpSession) -> BedrockUpstream:
    return BedrockUpstream(
        base_url=url,
        key=bedrock.NoKey(),
        sign=bedrock.signer(key.read()),
        model_id=bedrock.MODEL_ID,
        region=bedrock.REGION,
        http=http,
    )


OCTOAI: Final = Vendor(
    "octoai",
    OctoaiServer,
    lambda url, key, http: OctoaiUpstream(base_url=url, key=key, http=http),
    octoai.ERRORS,
    {
        "policy": ContentPolicyError,
        "validation": UpstreamRefusedError,
        "unauthorized": UpstreamKeyError,
        "rate": UpstreamThrottledError,
        "unavailable": UpstreamUnavailableError,
        "internal": UpstreamFailedError,
    },
)
STABILITY: Final = Vendor(
    "stability",
    StabilityServer,
    lambda url, key, http: StabilityUpstream(base_url=url, key=key, model="sd3.5-large", http=http),
    stability.ERRORS,
    {
        "bad_request": UpstreamRefusedError,
        "unauthorized": UpstreamKeyError,
        "payment_required": UpstreamRefusedError,
        "content_moderation": ContentPolicyError,
        "payload_too_large": UpstreamRefusedError,
        "invalid_language": ContentPolicyError,
        "public_figure": ContentPolicyError,
        "rate_limit_exceeded": UpstreamThrottledError,
        "internal_error": UpstreamUnchargedError,
    },
)
BEDROCK: Final = Vendor(
    "bedrock",
    BedrockServer,
    _bedrock,
    bedrock.ERRORS,
    {
        "AccessDeniedException": UpstreamKeyError,
        "ResourceNotFoundException": UpstreamRefusedError,
        "ThrottlingException": UpstreamThrottledError,
        "ModelTimeoutException": UpstreamFailedError,
        "InternalServerException": UpstreamFailedError,
        "ServiceUnavailableException": UpstreamUnavailableError,
        "ValidationException": UpstreamRefusedError,
        "ServiceQuotaExceededException": UpstreamThrottledError,
        "ModelNotReadyException": UpstreamUnavailableError,
        "ModelErrorException": UpstreamFailedError,
    },
    renews_its_key=False,
)
OPENAI: Final = Vendor(
    "openai",
    OpenaiServer,
    lambda url, key, http: OpenaiUpstream(base_url=url, key=key, model="", http=http),
    openai.ERRORS,
    {
        "size": UpstreamRefusedError,
        "validation": UpstreamRefusedError,
        "unauthorized": UpstreamKeyError,
        "not_initialized": UpstreamUnavailableError,
        "generation": UpstreamFailedError,
        "policy": ContentPolicyError,
        "rate": UpstreamThrottledError,
    },
    generates_from_images=False,
    filters=False,
)
VENDORS: Final = (OCTOAI, STABILITY, BEDROCK, OPENAI)
"""In the order of the registry."""
