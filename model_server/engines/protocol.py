"""What the server expects of an engine: one Protocol, and the errors that it may raise."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest


class GeneratedImage(NamedTuple):
    """One RGB image in the requested size; `image` is None when it was removed for safety."""

    image: Image.Image | None
    safety_score: float | None = None


class EngineLoadError(Exception):
    """The engine cannot load; the message tells the operator why."""


class EngineClosedError(Exception):
    """The engine was closed before it had generated the images."""


class EngineMemoryError(Exception):
    """Not even one image of this size fits in memory."""


class Engine(Protocol):
    """Generates images. Each engine has its own safety filter."""

    name: str
    description: str
    """The value of the X-Engine header in every response."""
    digital_source_type: str
    """The value of the X-Digital-Source-Type header, a term of IPTC's vocabulary of that name."""
    concurrency: int
    """How many requests the engine runs at once, each in a thread of its own."""
    collectors: Sequence[Collector]
    """The engine's own metrics, for GET /metrics."""

    def load(self) -> None:
        """Make the engine ready; called once, in a thread, and may take minutes.

        Raises EngineLoadError when the operator can correct the cause.
        """

    def rejects(self, request: GenerateRequest) -> bool:
        """Return whether the prompt violates the acceptable use policy; fast, without the model."""

    def generate(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterable[GeneratedImage]:
        """Generate one image per seed, in the order of `seeds`, one by one or in batches.

        `init_image` has the size of the output; None means text-to-image.
        Raises EngineClosedError, EngineMemoryError.
        """

    def close(self) -> None:
        """Stop generating soon; may be called from any thread, and more than once."""
