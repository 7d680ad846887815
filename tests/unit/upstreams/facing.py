"""An upstream behind an open gate, in front of its vendor's server."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final

import pytest

from sd3.domain.generation import DrawnPicture
from sd3.domain.image import Picture
from sd3.domain.request import GenerateRequest
from sd3.errors import Sd3Error
from sd3.http.session import HttpSession, Limits
from sd3.settings import UpstreamSettings
from sd3.upstreams.dispatch import Calls, Order, PacedUpstream, Result
from tests.fakes import OpenGate
from tests.unit.upstreams.calling import FakeKey
from tests.vendors.serving import KEY
from tests.vendors.vendors import Vendor

LIMITS: Final = Limits(max_bytes=4_000_000, min_seconds=0)
PROMPT: Final = "a fox \u2603"


class Facing:
    """What a test draws with, on a real clock: nobody sleeps, and each call is made once."""

    def __init__(self, vendor: Vendor, http: HttpSession, url: str, key: FakeKey) -> None:
        self.upstream = vendor.make(url, key, http)
        self.paced = PacedUpstream(
            settings=UpstreamSettings(name=vendor.name),
            make=lambda: self.upstream,
            make_gate=lambda _: OpenGate(),
            clock=time.monotonic,
            sleep=lambda _: None,
            jitter=lambda: 0.5,
        )

    def calls(
        self,
        *,
        seeds: Sequence[int] = (7,),
        init_image: Picture | None = None,
        seconds: float = 30,
        **fields: Any,
    ) -> Calls:
        """Draw a picture for each seed, so many seconds before the deadline."""
        request = GenerateRequest(prompt=PROMPT, num_images=len(seeds), **fields)
        order = Order(
            request, dict(enumerate(seeds)), init_image, deadline=time.monotonic() + seconds
        )
        return self.paced.draw(order, tries=1)

    def draw(self, **options: Any) -> list[Result]:
        """What became of each picture, in order."""
        results = self.calls(**options).results
        return [results[index] for index in range(len(results))]

    def drawn(self, **options: Any) -> DrawnPicture:
        """The one picture that is drawn."""
        (result,) = self.draw(**options)
        assert isinstance(result, DrawnPicture), result
        return result

    def error(self, **options: Any) -> Sd3Error:
        """Why the one picture is not drawn."""
        (result,) = self.draw(**options)
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
