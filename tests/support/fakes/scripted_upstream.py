"""An upstream that follows a script, and a rate limiter with given permits."""

from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock

from sd3.domain.generation import (
    NO_ORIGIN,
    GeneratedImage,
    GenerationTask,
    TaskOrigin,
    UpstreamResult,
)
from sd3.domain.image import Image
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, Sd3Error
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from tests.support.fakes.ports import sample_image

Script = Mapping[int, Sequence[Sd3Error | None]]
"""The outcomes of the successive calls that begin with a seed; None means that it is generated."""


class ScriptedUpstream:
    """Generates every seed that its script does not fail; `removed` are seeds that are filtered."""

    rate: Rate | None = None
    pause_seconds = 1

    def __init__(
        self,
        name: str = "scripted",
        *,
        script: Script | None = None,
        always: Sd3Error | None = None,
        removed: Sequence[int] = (),
        images_per_call: int = 1,
        model: str | None = None,
        micros: int = 1000,
        field_error: str = "",
        generates_from_images: bool = True,
        ignored: tuple[str, ...] = (),
        milliseconds: float = 1234.5,
    ) -> None:
        self.name, self.model = name, model
        self.images_per_call = images_per_call
        self._script = {seed: deque(steps) for seed, steps in (script or {}).items()}
        self._always, self._removed = always, set(removed)
        self._micros, self._ignored, self._milliseconds = micros, ignored, milliseconds
        self._field_error, self._generates_from_images = field_error, generates_from_images
        self._lock = Lock()
        self.calls: list[list[int]] = []
        self.init_images: list[Image | None] = []

    def price(self, request: GenerateRequest) -> int:
        return self._micros

    def unsupported(self, request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:
        if self._field_error or (has_image and not self._generates_from_images):
            return (
                FieldError(
                    ("body", self._field_error or "init_image"), f"not {self.name}'s", "upstream"
                ),
            )
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        return self._ignored

    def generate(self, task: GenerationTask) -> UpstreamResult:
        seeds = list(task.seeds.values())
        with self._lock:
            self.calls.append(seeds)
            self.init_images.append(task.init_image)
            steps = self._script.get(seeds[0])
            error = steps.popleft() if steps else self._always
        if error:
            raise error
        generated = (
            GeneratedImage(seed, None if seed in self._removed else sample_image())
            for seed in seeds
        )
        return UpstreamResult(tuple(generated), self._milliseconds)


class ScriptedRateLimiter:
    """Permits a given number of calls at each acquisition; raises `error` for 0 and at the end."""

    def __init__(
        self, *permits: int, error: Sd3Error | None = None, waits: Sequence[float] = (0.0,) * 16
    ) -> None:
        self._permits, self._error, self._waits = deque(permits), error, waits
        self.requested: list[tuple[int, float]] = []
        self.outcomes: list[Sequence[Sd3Error | None]] = []
        self.step_seconds: float | None = None

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        self.requested.append((calls, patience))
        count = self._permits.popleft() if self._permits else 0
        if not count and self._error:
            raise self._error
        return Permit(tuple(self._waits[: min(calls, count or calls)]))

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> float:
        self.outcomes.append(errors)
        return 0.0

    def seconds_per_step(self) -> float | None:
        return self.step_seconds

    def note_step(self, seconds: float, *, is_least: bool) -> None:
        self.step_seconds = seconds
