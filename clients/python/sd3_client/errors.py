"""What can go wrong, as exceptions: a class for each thing that a program may do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Sd3Error(Exception):
    """An error of the service. `code` is stable, and the text may change."""

    codes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, body: Mapping[str, Any], status: int = 0, retry_after: str = "") -> None:
        self.status = status
        self.code: str = body.get("code") or f"http_{status}"
        self.message: str = body.get("message") or f"The status of the answer is {status}."
        self.request_id: str | None = body.get("request_id")
        self.job_id: str | None = body.get("job_id")
        detail = body.get("detail")
        self.detail: list[dict[str, Any]] = detail if isinstance(detail, list) else []
        self.retry_after = int(retry_after) if retry_after.isdecimal() else None
        fields = [f"{'.'.join(map(str, e.get('loc', ())))}: {e.get('msg')}" for e in self.detail]
        super().__init__("\n  ".join([f"{self.code}: {self.message}", *fields]))


class InvalidRequestError(Sd3Error):
    """The request is wrong, and `detail` lists the fields. It costs nothing."""

    codes = ("validation_error", "invalid_json", "too_large", "unsupported_media_type")


class AuthenticationError(Sd3Error):
    """The token is missing, not known, or lacks a scope."""

    codes = ("unauthorized", "forbidden")


class BudgetExceededError(Sd3Error):
    """The request costs more than is left of today's budget."""

    codes = ("budget_exceeded",)


class NotFoundError(Sd3Error):
    """The job does not exist, has expired, or was deleted."""

    codes = ("not_found", "gone")


class ConflictError(Sd3Error):
    """The job's state does not allow it, or the idempotency key was used for another request."""

    codes = (
        *("idempotency_mismatch", "not_cancelable", "not_reproducible"),
        *("delivery_pending", "batch_pending"),
    )


class ContentPolicyError(Sd3Error):
    """The upstream refuses this prompt or init image."""

    codes = ("content_policy",)


class RateLimitedError(Sd3Error):
    """There were too many requests: `retry_after` has the seconds to wait."""

    codes = ("rate_limited",)


class UpstreamError(Sd3Error):
    """The upstream failed, and may have charged."""

    codes = ("upstream_error",)


class UnavailableError(Sd3Error):
    """The upstream or the service takes no calls now. Nothing was charged."""

    codes = ("upstream_unavailable",)


class StillRunningError(Sd3Error):
    """The job `job_id` goes on: wait for it."""

    codes = ("still_running",)


class UnreachableError(Sd3Error):
    """No answer came. The service may have got the request."""

    codes = ("unreachable",)


def error_of(body: object, status: int = 0, retry_after: str = "") -> Sd3Error:
    """Make the exception of an error's body. A body of another shape is an error all the same."""
    known = body if isinstance(body, dict) else {}
    classes = {code: each for each in Sd3Error.__subclasses__() for code in each.codes}
    return classes.get(str(known.get("code")), Sd3Error)(known, status, retry_after)
