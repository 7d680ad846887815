"""The Protocol that every upstream implements, and the options that it is constructed with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError
from sd3.settings import Rate, Settings

if TYPE_CHECKING:
    from sd3.http.auth import ApiKey, Sign


class Upstream(Protocol):
    """A vendor or a server that generates images, one call at a time."""

    name: str
    images_per_call: int
    """The most images that one call can generate."""
    rate: Rate | None
    """The rate limit that the vendor documents; None where none is known."""
    model: str | None
    """The model that its settings name; None where the server chooses it."""
    pause_seconds: int
    """The pause after a 429 without Retry-After."""

    def price(self, request: GenerateRequest) -> int:
        """Return the price of one image of `request`, in micro-dollars."""

    def unsupported(self, request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:
        """Return an error for each field of `request` that this upstream never supports."""

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        """Return the fields of `request` that this upstream ignores or changes."""

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate one image for each seed of the task, in order, in one call.

        Each says if it was made without a trained model, and what by, where the upstream tells.
        Raises UpstreamError, InvalidRequestError for an init image that cannot be decoded, and
        StorageError when the upstream's key cannot be read.
        """


class UpstreamOptions(NamedTuple):
    """The options that an upstream is constructed with."""

    base_url: str
    """Empty for the vendor's own base URL."""
    key: "ApiKey"
    settings: Settings
    sign: "Sign"
