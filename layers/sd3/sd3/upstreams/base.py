"""What every upstream implements, and what it is made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sd3.domain.generation import Drawing
from sd3.domain.image import Picture
from sd3.domain.request import GenerateRequest
from sd3.errors import Fault
from sd3.settings import Rate, Settings

if TYPE_CHECKING:
    from sd3.http.session import Key, Sign


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
