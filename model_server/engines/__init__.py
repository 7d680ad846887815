"""The engines that draw: one Protocol, and a plain dict of the ones that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from PIL import Image

from model_server.models import GenerateRequest

if TYPE_CHECKING:  # settings.py takes its choices from ENGINES below
    from model_server.settings import Settings


class Drawn(NamedTuple):
    """One picture, RGB, in the size asked for; None when it was removed for safety."""

    picture: Image.Image | None
    safety_score: float | None = None


class EngineClosedError(Exception):
    """The engine was closed before the drawing was done."""


class Engine(Protocol):
    """Whoever draws. An engine owns its safety filter, since only it knows what it can judge."""

    name: str
    notice: str
    """What every answer says of the engine, in its X-Engine header."""
    parallel: int
    """How many requests it draws at once, each in a thread of its own."""

    def load(self) -> None:
        """Become ready to draw; called once, in a thread, and may take minutes."""

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

        `init_image` has the output's size; None means text-to-image. Raises EngineClosedError.
        """

    def close(self) -> None:
        """End soon what is being drawn; may be called from any thread, more than once."""


def _sketch(settings: Settings) -> Engine:
    from model_server.engines.sketch import SketchEngine  # noqa: PLC0415 - only the chosen is paid

    return SketchEngine(delay_ms_per_step=settings.delay_ms_per_step)


ENGINES: dict[str, Callable[[Settings], Engine]] = {"sketch": _sketch}
