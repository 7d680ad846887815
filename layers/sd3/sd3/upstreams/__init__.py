"""The SD3 upstreams: one Protocol, and a plain dict of the ones that there are."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sd3.contract import GenerateRequest
from sd3.errors import Fault
from sd3.images import Picture
from sd3.models import Drawing
from sd3.settings import Rate, Settings

if TYPE_CHECKING:  # with it comes `requests`, which only those pay that call an upstream
    from sd3.http import Key, Sign


class Upstream(Protocol):
    """Whoever draws the pictures, one call at a time."""

    name: str
    pictures_per_call: int
    """How many pictures one call can draw, at the most."""
    rate: Rate | None
    """How often it may be called, by its vendor's documents; None where nothing is known."""
    pause_seconds: int
    """How long to hold back after a 429 that does not say so itself."""

    def price(self, request: GenerateRequest) -> int:
        """What one picture of `request` costs, in micro-dollars."""

    def faults(self, request: GenerateRequest, *, has_image: bool) -> Sequence[Fault]:
        """What of `request` it can never draw."""

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        """Fields of `request` that it does not follow, or not as asked."""

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Picture | None,
        deadline: float,
    ) -> Drawing:
        """Draw one picture for each seed, in order, in one call.

        `deadline` is in seconds of time.monotonic(); nothing is waited for beyond it.
        Raises UpstreamError, InvalidRequestError for an init image that cannot be decoded, and
        StorageError when its key cannot be read.
        """


class Options(NamedTuple):
    """What an upstream is made of."""

    base_url: str
    """Empty for the vendor's own."""
    key: "Key"
    settings: Settings
    sign: "Sign"


def _octoai(options: Options) -> Upstream:
    from sd3.upstreams.octoai import OctoaiUpstream  # noqa: PLC0415 - only what is chosen is paid

    return OctoaiUpstream(base_url=options.base_url, key=options.key)


def _stability(options: Options) -> Upstream:
    from sd3.upstreams.stability import StabilityUpstream  # noqa: PLC0415 - as above

    return StabilityUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.stability_model
    )


def _bedrock(options: Options) -> Upstream:
    from sd3.upstreams.bedrock import BedrockUpstream  # noqa: PLC0415 - as above

    return BedrockUpstream(
        base_url=options.base_url,
        key=options.key,
        sign=options.sign,
        model_id=options.settings.bedrock_model_id,
        region=options.settings.bedrock_region,
    )


def _openai(options: Options) -> Upstream:
    from sd3.upstreams.openai import OpenaiUpstream  # noqa: PLC0415 - as above

    return OpenaiUpstream(
        base_url=options.base_url, key=options.key, model=options.settings.openai_model
    )


UPSTREAMS: dict[str, Callable[[Options], Upstream]] = {
    "octoai": _octoai,
    "stability": _stability,
    "bedrock": _bedrock,
    "openai": _openai,
}
