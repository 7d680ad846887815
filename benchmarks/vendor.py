"""An upstream that allows so many calls in a window, and shuts everybody out after an excess."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from benchmarks.virtual_time import VirtualTime
from sd3.contract import GenerateRequest
from sd3.errors import Fault, UpstreamThrottledError
from sd3.images import Picture
from sd3.models import Drawing, DrawnPicture
from sd3.settings import Rate

RATE: Final = Rate(150, 10)
"""Stability's."""
BLOCK_SECONDS: Final = 60
WAY_SECONDS: Final = (0.02, 0.15)
"""From a caller to the vendor, and back."""
DRAWING_SECONDS: Final = (2.0, 4.0)
_PICTURE: Final = Picture(b"a picture", "image/png", 1024, 1024)


@dataclass
class Vendor:
    """Counts calls in a sliding window; those that it refuses count as well."""

    calls: deque[float] = field(default_factory=deque)
    """When those of the last window came."""
    blocked_until: float = 0.0
    drawn: int = 0
    refused: int = 0
    first_at: float | None = None
    last_at: float = 0.0
    """When the last call came that was not refused."""

    def admits(self, now: float) -> bool:
        """Whether a call that comes now is drawn."""
        while self.calls and self.calls[0] <= now - RATE.seconds:
            self.calls.popleft()
        self.calls.append(now)
        self.first_at = now if self.first_at is None else self.first_at
        if now >= self.blocked_until and len(self.calls) > RATE.calls:
            self.blocked_until = now + BLOCK_SECONDS
        if now < self.blocked_until:
            self.refused += 1
            return False
        self.drawn += 1
        self.last_at = now
        return True


@dataclass(frozen=True)
class VendorUpstream:
    """A caller of the vendor, as PacedUpstream has it."""

    vendor: Vendor
    time: VirtualTime
    random: Random

    name = "vendor"
    pictures_per_call = 1
    rate = RATE
    pause_seconds = BLOCK_SECONDS

    def price(self, request: GenerateRequest) -> int:  # noqa: ARG002 - all cost the same
        """Micro-dollars of a picture."""
        return 65_000

    def faults(self, request: GenerateRequest, *, has_image: bool) -> Sequence[Fault]:  # noqa: ARG002
        """It draws everything."""
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:  # noqa: ARG002
        """It follows every field."""
        return ()

    def draw(
        self,
        request: GenerateRequest,  # noqa: ARG002
        *,
        seeds: Sequence[int],
        init_image: Picture | None,  # noqa: ARG002
        deadline: float,  # noqa: ARG002
    ) -> Drawing:
        """Draw one picture in some seconds; raises UpstreamThrottledError."""
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        is_drawn = self.vendor.admits(self.time.now)
        if is_drawn:
            self.time.sleep(self.random.uniform(*DRAWING_SECONDS))
        self.time.sleep(self.random.uniform(*WAY_SECONDS))
        if not is_drawn:
            raise UpstreamThrottledError("Too many calls.")
        return Drawing(tuple(DrawnPicture(seed, _PICTURE) for seed in seeds), 0.0)
