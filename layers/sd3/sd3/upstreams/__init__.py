"""The registry of the SD3 upstreams, and the order of upstreams that the settings name.

Upstreams and what they need are imported when they are first used: many functions need none.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sd3.settings import Settings, UpstreamSettings
from sd3.upstreams.base import Upstream, UpstreamOptions
from sd3.upstreams.dispatch import RateLimitedUpstream
from sd3.upstreams.fallback import Fallback

if TYPE_CHECKING:
    from sd3.adapters.aws import Aws
    from sd3.adapters.secrets import UpstreamKeys
    from sd3.upstreams.rate_limit.limiter import SharedRateLimiter


def _octoai(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.octoai import OctoaiUpstream

    return OctoaiUpstream(base_url=options.base_url, key=options.key)


def _stability(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.stability import StabilityUpstream

    return StabilityUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.stability_model
    )


def _bedrock(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.bedrock import BedrockUpstream

    return BedrockUpstream(
        base_url=options.base_url,
        key=options.key,
        sign=options.sign,
        model_id=options.settings.bedrock_model_id,
        region=options.settings.bedrock_region,
        url_suffix=options.settings.url_suffix,
    )


def _openai(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.openai import OpenaiUpstream

    return OpenaiUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.openai_model
    )


UPSTREAMS: dict[str, Callable[[UpstreamOptions], Upstream]] = {
    "octoai": _octoai,
    "stability": _stability,
    "bedrock": _bedrock,
    "openai": _openai,
}


def build_fallback(
    settings: Settings,
    aws: "Aws",
    *,
    keys: Callable[[], "UpstreamKeys"],
    sleep: Callable[[float], None],
    jitter: Callable[[], float],
) -> Fallback:
    """Build the upstreams that the settings name, each behind its rate limiter, in their order.

    They are made when they are first used, and so are their `keys`. Then it raises ValueError for
    settings that name an unknown upstream, or that an upstream cannot be made of.
    """

    def members() -> tuple[RateLimitedUpstream, ...]:
        return tuple(member(one) for one in settings.upstreams())

    def member(one: UpstreamSettings) -> RateLimitedUpstream:
        if one.name not in UPSTREAMS:
            msg = f"UPSTREAM names {one.name!r}, which is none of {', '.join(UPSTREAMS)}"
            raise ValueError(msg)
        options = UpstreamOptions(
            base_url=one.url,
            key=keys().of(one.name),
            settings=settings,
            sign=aws.signer("bedrock", settings.bedrock_region),
        )
        return RateLimitedUpstream(
            settings=one,
            make=lambda: UPSTREAMS[one.name](options),
            make_limiter=lambda upstream: _limiter(one, upstream, settings.upstreams_table, aws),
            clock=time.monotonic,
            sleep=sleep,
            jitter=jitter,
        )

    return Fallback(make_members=members)


def build_keys(settings: Settings, aws: "Aws") -> "UpstreamKeys":
    """Build the reader of the upstreams' keys. Raises ValueError for invalid settings."""
    from sd3.adapters.secrets import UpstreamKeys

    names = [one.name for one in settings.upstreams()]
    # Bedrock can do without a key, so a key in plain text is the other upstream's.
    keyed = [name for name in names if name != "bedrock" or len(names) == 1]
    return UpstreamKeys(
        partial(getattr, aws, "secrets"),
        settings.upstream_secret,
        plain_for=keyed[0] if len(keyed) == 1 else None,
    )


def _limiter(
    one: UpstreamSettings, upstream: Upstream, table: str, aws: "Aws"
) -> "SharedRateLimiter":
    from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
    from sd3.upstreams.rate_limit.schedule import RateBounds
    from sd3.upstreams.rate_limit.table import RateLimitTable

    bounds = RateBounds(
        rate=one.rate or upstream.rate,
        concurrency=one.concurrency,
        pause_seconds=upstream.pause_seconds,
    )
    return SharedRateLimiter(
        RateLimitTable(aws.dynamodb, table, one.name), bounds=bounds, clock=time.time
    )
