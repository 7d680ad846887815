"""An upstream that allows so many calls in a window, and shuts everybody out after an excess."""

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
"""Stability's, as is the next."""
BLOCK_SECONDS: Final = 60
WAY_SECONDS: Final = (0.02, 0.15)
"""From a caller to the vendor, and back."""
GENERATION_SECONDS: Final = (2.0, 4.0)
_IMAGE: Final = Image(b"an image", "image/png", 1024, 1024)


@dataclass
class Vendor:
    """Counts the calls of every window of its rate; one that is harsh counts refused ones too."""

    is_harsh: bool
    generated: int = 0
    refused: int = 0
    first_at: float | None = None
    last_at: float = 0.0
    """When the first call came, and the last that was not refused."""
    _window: deque[float] = field(default_factory=deque)
    _blocked_until: float = 0.0

    @property
    def share_used(self) -> float:
        """Of the rate, from the first call to the last."""
        seconds = self.last_at - (self.first_at or 0.0)
        return self.generated / (RATE.calls / RATE.seconds * seconds)

    @property
    def share_refused(self) -> float:
        """Of all calls."""
        return self.refused / (self.generated + self.refused)

    def admits(self, now: float) -> bool:
        """Whether a call that comes now is generated."""
        if self.first_at is None:
            self.first_at = now
        while self._window and self._window[0] <= now - RATE.seconds:
            self._window.popleft()
        self._window.append(now)
        if now >= self._blocked_until and len(self._window) > RATE.calls:
            self._blocked_until = now + BLOCK_SECONDS
        if now < self._blocked_until:
            self.refused += 1
            if not self.is_harsh:
                self._window.pop()
            return False
        self.generated += 1
        self.last_at = now
        return True


class VendorUpstream:
    """The vendor as an upstream that generates one image a call, some way away."""

    name = "vendor"
    images_per_call = 1
    rate: Rate | None = RATE
    pause_seconds = BLOCK_SECONDS

    def __init__(self, vendor: Vendor, time: VirtualTime, random: Random) -> None:
        self.vendor, self.time, self.random = vendor, time, random

    def price(self, request: GenerateRequest) -> int:  # noqa: ARG002 - the Protocol's, as below
        """Micro-dollars of an image."""
        return 65_000

    def unsupported(
        self,
        request: GenerateRequest,  # noqa: ARG002
        *,
        has_image: bool,  # noqa: ARG002
    ) -> Sequence[FieldError]:
        """It generates everything."""
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:  # noqa: ARG002
        """It follows every field."""
        return ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate in some seconds; raises UpstreamThrottledError."""
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        is_generated = self.vendor.admits(self.time.now)
        if is_generated:
            self.time.sleep(self.random.uniform(*GENERATION_SECONDS))
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        if not is_generated:
            raise UpstreamThrottledError("The vendor is asked too often.")
        return UpstreamResult(
            tuple(GeneratedImage(seed, _IMAGE) for seed in task.seeds.values()), 0.0
        )
