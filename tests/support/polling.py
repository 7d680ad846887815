"""Bounded waiting for what happens elsewhere."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

Found = TypeVar("Found")

WAIT_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.2


def wait_for(
    look: Callable[[], Found | None], *, what: str, seconds: float = WAIT_SECONDS
) -> Found:
    """Poll `look`, and return the first result that is not empty."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"no {what} in {seconds} s")
