"""An upstream that does as its script says, and a gate that lets in as many as it is told."""

from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock

from sd3.domain.generation import Drawing, DrawnPicture
from sd3.domain.image import Picture
from sd3.domain.request import GenerateRequest
from sd3.errors import Fault, Sd3Error
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from tests.fakes import picture

Script = Mapping[int, Sequence[Sd3Error | None]]
"""What becomes of the calls that begin with a seed, one after the other; None is drawn."""


class ScriptedUpstream:
    """Draws every seed but for what its script says; `removed` are seeds that are filtered."""

    rate: Rate | None = None
    pause_seconds = 1

    def __init__(
        self,
        name: str = "scripted",
        *,
        script: Script | None = None,
        always: Sd3Error | None = None,
        removed: Sequence[int] = (),
        pictures_per_call: int = 1,
        micros: int = 1000,
        fault: str = "",
        draws_from_images: bool = True,
        ignored: tuple[str, ...] = (),
        milliseconds: float = 1234.5,
    ) -> None:
        self.name = name
        self.pictures_per_call = pictures_per_call
        self._script = {seed: deque(steps) for seed, steps in (script or {}).items()}
        self._always, self._removed = always, set(removed)
        self._micros, self._ignored, self._milliseconds = micros, ignored, milliseconds
        self._fault, self._draws_from_images = fault, draws_from_images
        self._lock = Lock()
        self.calls: list[list[int]] = []
        self.init_images: list[Picture | None] = []

    def price(self, request: GenerateRequest) -> int:
        return self._micros

    def faults(self, request: GenerateRequest, *, has_image: bool) -> Sequence[Fault]:
        if self._fault or (has_image and not self._draws_from_images):
            return (Fault(("body", self._fault or "init_image"), f"not {self.name}'s", "upstream"),)
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        return self._ignored

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Picture | None,
        deadline: float,
    ) -> Drawing:
        with self._lock:
            self.calls.append(list(seeds))
            self.init_images.append(init_image)
            steps = self._script.get(seeds[0])
            error = steps.popleft() if steps else self._always
        if error:
            raise error
        drawn = (DrawnPicture(seed, None if seed in self._removed else picture()) for seed in seeds)
        return Drawing(tuple(drawn), self._milliseconds)


class NarrowGate:
    """Lets in so many calls at a visit, each after its wait; 0 or no more is `error`."""

    def __init__(
        self, *visits: int, error: Sd3Error | None = None, waits: Sequence[float] = (0.0,) * 16
    ) -> None:
        self._visits, self._error, self._waits = deque(visits), error, waits
        self.asked: list[tuple[int, float]] = []
        self.told: list[Sequence[Sd3Error | None]] = []

    def enter(self, calls: int, *, patience: float) -> Permit:
        self.asked.append((calls, patience))
        count = self._visits.popleft() if self._visits else 0
        if not count and self._error:
            raise self._error
        return Permit(tuple(self._waits[: min(calls, count or calls)]))

    def leave(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        self.told.append(errors)
