"""An upstream with a limit of calls in a window, which blocks all calls after an excess."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from benchmarks.virtual_time import VirtualTime
from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.image import Image
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, UpstreamThrottledError
from sd3.settings import Rate

RATE: Final = Rate(150, 10)
"""Stability's, as is BLOCK_SECONDS."""
BLOCK_SECONDS: Final = 60
WAY_SECONDS: Final = (0.02, 0.15)
"""The shortest and the longest way from a caller to the vendor, or back."""
GENERATION_SECONDS: Final = (2.0, 4.0)
_IMAGE: Final = Image(b"an image", "image/png", 1024, 1024)


@dataclass
class Vendor:
    """Counts the calls of every window of its rate; a harsh one counts throttled calls too."""

    is_harsh: bool
    generated: int = 0
    throttled: int = 0
    first_at: float | None = None
    last_at: float = 0.0
    """When the first call arrived, and the last that was not throttled."""
    _window: deque[float] = field(default_factory=deque)
    _blocked_until: float = 0.0

    @property
    def share_used(self) -> float:
        """Return the used share of the rate, from the first call to the last."""
        seconds = self.last_at - (self.first_at or 0.0)
        return self.generated / (RATE.calls / RATE.seconds * seconds)

    @property
    def share_throttled(self) -> float:
        """Return the throttled share of all calls."""
        return self.throttled / (self.generated + self.throttled)

    def admits(self, now: float) -> bool:
        """Count a call that arrives now, and return whether it is generated."""
        if self.first_at is None:
            self.first_at = now
        while self._window and self._window[0] <= now - RATE.seconds:
            self._window.popleft()
        self._window.append(now)
        if now >= self._blocked_until and len(self._window) > RATE.calls:
            self._blocked_until = now + BLOCK_SECONDS
        if now < self._blocked_until:
            self.throttled += 1
            if not self.is_harsh:
                self._window.pop()
            return False
        self.generated += 1
        self.last_at = now
        return True


class VendorUpstream:
    """The vendor as an upstream that generates one image a call, with a latency of the network."""

    name = "vendor"
    images_per_call = 1
    rate: Rate | None = RATE
    model: str | None = None
    pause_seconds = BLOCK_SECONDS

    def __init__(self, vendor: Vendor, time: VirtualTime, random: Random) -> None:
        self.vendor, self.time, self.random = vendor, time, random

    def price(self, request: GenerateRequest) -> int:  # noqa: ARG002 - the Protocol's, as below
        """Return the micro-dollars of an image."""
        return 65_000

    def unsupported(
        self,
        request: GenerateRequest,  # noqa: ARG002
        *,
        has_image: bool,  # noqa: ARG002
    ) -> Sequence[FieldError]:
        """Return no errors, since the vendor supports everything."""
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:  # noqa: ARG002
        """Return no fields, since the vendor uses all of them."""
        return ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate in GENERATION_SECONDS; raises UpstreamThrottledError."""
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        is_generated = self.vendor.admits(self.time.now)
        if is_generated:
            self.time.sleep(self.random.uniform(*GENERATION_SECONDS))
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        if not is_generated:
            raise UpstreamThrottledError("The vendor's rate is exceeded.")
        return UpstreamResult(
            tuple(GeneratedImage(seed, _IMAGE) for seed in task.seeds.values()), 0.0
        )
