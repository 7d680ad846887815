"""Who asks for images, and until when callers are held that know no 202."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sd3.api.request import Request
from sd3.domain.client import RequestContext
from sd3.domain.job import unpadded

OCTOAI_SDKS: Final = frozenset(("octoai", "@octoai/sdk"))
"""What the SDKs for Python and TypeScript send as X-Fern-SDK-Name."""

_OLD_OCTOAI_SDKS: Final = "octoai-"
"""What the User-Agent of `octoai-sdk` of PyPI and `@octoai/client` of npm begins with."""

HOLD: Final = timedelta(seconds=26)
"""How long the gateway's caller is held: after 29 s it is gone, and 4.5 MB take their time."""

_MAX_START: Final = timedelta(seconds=5)


def is_octoai_sdk(request: Request) -> bool:
    """Return whether one of OctoAI's SDKs calls: they take every 2xx for the images."""
    agent = (request.header("User-Agent") or "").lower()
    name = (request.header("X-Fern-SDK-Name") or "").strip().lower()
    return name in OCTOAI_SDKS or agent.startswith(_OLD_OCTOAI_SDKS)


def request_context(
    request: Request, *, now: datetime, is_held: bool, respond_async: bool = False
) -> RequestContext:
    """Make the context of a call, which is held until its job ends or gets what there is."""
    return RequestContext(
        client_id=request.client_id,
        client_name=request.client_name,
        job_id=unpadded(request.id),
        seconds=request.seconds,
        idempotency_key=request.idempotency_key(),
        respond_async=respond_async,
        limits=request.limits,
        hold_until=_hold_until(request, now) if is_held else None,
        cache=request.cache_control(),
        cancel_after=request.cancel_after(),
    )


def _hold_until(request: Request, now: datetime) -> datetime:
    """Return until when the gateway lets a caller be held, with time left for the response."""
    epoch = request.event.request_context.get("requestTimeEpoch") or 0
    received = datetime.fromtimestamp(epoch / 1000, UTC)
    # The gateway's clock is another one, and no authorizer and cold start take longer.
    return min(max(received, now - _MAX_START), now) + HOLD
