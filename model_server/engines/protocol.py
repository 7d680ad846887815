"""What the server expects of an engine: one Protocol and its errors."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest


class Drawn(NamedTuple):
    """One picture, RGB, in the size asked for; None when it was removed for safety."""

    picture: Image.Image | None
    safety_score: float | None = None


class EngineClosedError(Exception):
    """The engine was closed before the drawing was done."""


class EngineLoadError(Exception):
    """The engine cannot become ready as it was set up; the message says to the operator why."""


class EngineMemoryError(Exception):
    """Not even one picture of that size fits the memory."""


class Engine(Protocol):
    """Whoever draws. An engine owns its safety filter, since only it knows what it can judge."""

    name: str
    notice: str
    """What every answer says of the engine, in its X-Engine header."""
    parallel: int
    """How many requests it draws at once, each in a thread of its own."""
    collectors: Sequence[Collector]
    """What it measures of itself, for GET /metrics."""

    def load(self) -> None:
        """Become ready to draw; called once, in a thread, and may take minutes.

        Raises EngineLoadError for what the operator can mend.
        """

    def refuses(self, request: GenerateRequest) -> bool:
        """Whether the request violates the acceptable use policy; quick, without drawing."""

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterable[Drawn]:
        """Draw one picture for each seed, in order; one by one or all at once.

        `init_image` has the output's size; None means text-to-image.
        Raises EngineClosedError, EngineMemoryError.
        """

    def close(self) -> None:
        """End soon what is being drawn; may be called from any thread, more than once."""
