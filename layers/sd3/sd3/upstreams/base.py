"""What every upstream implements, and what it is made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError
from sd3.settings import Rate, Settings

if TYPE_CHECKING:
    from sd3.http.auth import ApiKey, Sign


class Upstream(Protocol):
    """Whoever generates the images, one call at a time."""

    name: str
    images_per_call: int
    """How many images one call can generate, at the most."""
    rate: Rate | None
    """How often it may be called, by its vendor's documents; None where nothing is known."""
    pause_seconds: int
    """How long to hold back after a 429 that does not say so itself."""

    def price(self, request: GenerateRequest) -> int:
        """What one image of `request` costs, in micro-dollars."""

    def unsupported(self, request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:
        """What of `request` it can never generate."""

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        """Fields of `request` that it does not follow, or not as asked."""

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate one image for each seed of the task, in order, in one call.

        Raises UpstreamError, InvalidRequestError for an init image that cannot be decoded, and
        StorageError when its key cannot be read.
        """


class UpstreamOptions(NamedTuple):
    """What an upstream is made of."""

    base_url: str
    """Empty for the vendor's own."""
    key: "ApiKey"
    settings: Settings
    sign: "Sign"
