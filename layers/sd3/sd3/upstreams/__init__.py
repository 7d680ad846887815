"""The SD3 upstreams: one Protocol, and a plain dict of the ones that there are."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sd3.contract import GenerateRequest
from sd3.images import Picture
from sd3.models import Drawing
from sd3.settings import Settings


class Upstream(Protocol):
    """Whoever draws the pictures."""

    name: str

    def quote(self, request: GenerateRequest) -> int:
        """What drawing `request` costs, in micro-dollars."""

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Picture | None,
        deadline: float,
    ) -> Drawing:
        """Draw one picture for each seed, in order.

        `deadline` is in seconds of time.monotonic(); nothing is waited for beyond it.
        Raises UpstreamError.
        """


def _octoai(settings: Settings, token: Callable[[], str]) -> Upstream:
    from sd3.upstreams.octoai import OctoaiUpstream  # noqa: PLC0415 - only what is chosen is paid

    return OctoaiUpstream(base_url=settings.upstream_url, token=token)


UPSTREAMS: dict[str, Callable[[Settings, Callable[[], str]], Upstream]] = {"octoai": _octoai}
