"""The registry of the SD3 upstreams: a plain dict from their names to their constructors."""

from collections.abc import Callable

from sd3.upstreams.base import Upstream, UpstreamOptions


def _octoai(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.octoai import OctoaiUpstream  # noqa: PLC0415 - import only the chosen

    return OctoaiUpstream(base_url=options.base_url, key=options.key)


def _stability(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.stability import StabilityUpstream  # noqa: PLC0415 - as above

    return StabilityUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.stability_model
    )


def _bedrock(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.bedrock import BedrockUpstream  # noqa: PLC0415 - as above

    return BedrockUpstream(
        base_url=options.base_url,
        key=options.key,
        sign=options.sign,
        model_id=options.settings.bedrock_model_id,
        region=options.settings.bedrock_region,
    )


def _openai(options: UpstreamOptions) -> Upstream:
    from sd3.upstreams.openai import OpenaiUpstream  # noqa: PLC0415 - as above

    return OpenaiUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.openai_model
    )


UPSTREAMS: dict[str, Callable[[UpstreamOptions], Upstream]] = {
    "octoai": _octoai,
    "stability": _stability,
    "bedrock": _bedrock,
    "openai": _openai,
}
