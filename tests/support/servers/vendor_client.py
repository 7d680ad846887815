"""An upstream behind an open limiter, in front of its vendor's server."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Final

import pytest

from sd3.domain.generation import GeneratedImage
from sd3.errors import Sd3Error
from sd3.http.session import HttpLimits, HttpSession
from sd3.settings import UpstreamSettings
from sd3.upstreams.dispatch import Calls, RateLimitedUpstream, Result
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.tasks import make_task
from tests.support.fakes.ports import UnlimitedRateLimiter
from tests.support.servers.vendors.all_vendors import Vendor
from tests.support.servers.vendors.server import KEY

LIMITS: Final = HttpLimits(max_bytes=4_000_000, min_seconds=0)
PROMPT: Final = "a fox \u2603"


class Facing:
    """Generates through an upstream on a real clock, without sleeping and without retries."""

    def __init__(self, vendor: Vendor, http: HttpSession, url: str, key: FakeKey) -> None:
        self.upstream = vendor.make(url, key, http)
        self.limited = RateLimitedUpstream(
            settings=UpstreamSettings(name=vendor.name),
            make=lambda: self.upstream,
            make_limiter=lambda _: UnlimitedRateLimiter(),
            clock=time.monotonic,
            sleep=lambda _: None,
            jitter=lambda: 0.5,
        )

    def calls(self, *, seconds: float = 30, **options: Any) -> Calls:
        """Generate an image for each seed, so many seconds before the deadline."""
        task = make_task(prompt=PROMPT, deadline=time.monotonic() + seconds, **options)
        return self.limited.generate(task, tries=1)

    def generate(self, **options: Any) -> list[Result]:
        """Return the result of each image, in order."""
        results = self.calls(**options).results
        return [results[index] for index in range(len(results))]

    def generated(self, **options: Any) -> GeneratedImage:
        """Return the one image that is generated."""
        (result,) = self.generate(**options)
        assert isinstance(result, GeneratedImage), result
        return result

    def error(self, **options: Any) -> Sd3Error:
        """Why the one image is not generated."""
        (result,) = self.generate(**options)
        assert isinstance(result, Sd3Error), result
        return result


Face = Callable[..., Facing]


@pytest.fixture
def face() -> Iterator[Face]:
    """Put upstreams in front of servers that have been started."""
    with ExitStack() as ends:

        def put(vendor: Vendor, url: str, *, key: FakeKey | None = None) -> Facing:
            http = ends.enter_context(closing(HttpSession(url, limits=LIMITS)))
            return Facing(vendor, http, url, key or FakeKey(KEY))

        yield put
