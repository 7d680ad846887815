"""Every way in which a request can fail, each with its code, HTTP status and whether to retry.

Sd3Error                          500 internal_error
├── RequestError                  the caller's fault: nothing was changed, nothing was paid
│   ├── InvalidJsonError          400 invalid_json
│   ├── UnauthorizedError         401 unauthorized
│   ├── BudgetExceededError       402 budget_exceeded
│   ├── ForbiddenError            403 forbidden
│   ├── NotFoundError             404 not_found
│   ├── GoneError                 410 gone
│   ├── IdempotencyMismatchError  409 idempotency_mismatch
│   ├── NotCancelableError        409 not_cancelable
│   ├── TooLargeError             413 too_large
│   ├── UnsupportedMediaTypeError 415 unsupported_media_type
│   ├── InvalidRequestError       422 validation_error, with one Fault for each wrong field
│   └── RateLimitedError          429 rate_limited
├── UpstreamError                 502 upstream_error: it failed, in a way that it may not again
│   ├── ContentPolicyError        400 content_policy: its 'no' to this prompt or image, final
│   ├── UpstreamRefusedError      502 upstream_error: its 'no' to us (model, schema, credit), final
│   │   └── UpstreamKeyError      502 upstream_error: there is no key, or it is not known
│   ├── UpstreamResponseError       502 upstream_error: an answer that cannot be used
│   ├── UpstreamTimeoutError      502 upstream_error: no answer in time, outcome unknown
│   ├── UpstreamFailedError       502 upstream_error: it broke amid the call, outcome unknown
│   │   └── UpstreamUnchargedError 502 upstream_error: it broke, and charges nothing for that
│   └── UpstreamUnavailableError  503 upstream_unavailable: down or out of reach
│       ├── UpstreamThrottledError 503 upstream_unavailable: it says that we ask too often
│       └── UpstreamRateLimitedError 503 upstream_unavailable: we hold back and do not call it
├── StillRunningError             504 still_running: the job goes on without its caller
├── StorageError                  500 internal_error: DynamoDB or S3 failed
├── IssuerError                   500 internal_error: the issuer of JWTs cannot be asked
├── InvalidTransitionError        500 internal_error: a bug asked a job for what its state forbids
└── LeaseLostError                500 internal_error: another attempt owns the job now
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One wrong field: where it is (`("body", "seed", 1)`), what is wrong, and pydantic's type."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class Sd3Error(Exception):
    """Root of the tree; `message` is fit for a client: no secret, prompt, link or upstream body."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    may_have_charged: ClassVar[bool] = False
    """Whether a call that failed so can be on the operator's bill."""
    job_id: str | None = None
    """The job that failed so, once there is one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(Sd3Error):
    """The caller's field_error. Nothing was changed and nothing was paid."""


class InvalidJsonError(RequestError):
    """The body is not JSON."""

    code = "invalid_json"
    status = 400


class UnauthorizedError(RequestError):
    """No token, or none that is known."""

    code = "unauthorized"
    status = 401


class BudgetExceededError(RequestError):
    """More than what is left of the client's budget of the day."""

    code = "budget_exceeded"
    status = 402


class ForbiddenError(RequestError):
    """A known client that may not do this."""

    code = "forbidden"
    status = 403


class NotFoundError(RequestError):
    """No such thing, or another client's."""

    code = "not_found"
    status = 404


class GoneError(RequestError):
    """A job that was deleted not long ago."""

    code = "gone"
    status = 410


class IdempotencyMismatchError(RequestError):
    """An Idempotency-Key that was used with another request."""

    code = "idempotency_mismatch"
    status = 409


class NotCancelableError(RequestError):
    """A job that has ended."""

    code = "not_cancelable"
    status = 409


class TooLargeError(RequestError):
    """A body beyond what the service takes."""

    code = "too_large"
    status = 413


class UnsupportedMediaTypeError(RequestError):
    """A body that says it is not JSON."""

    code = "unsupported_media_type"
    status = 415


class InvalidRequestError(RequestError):
    """A request with one or more wrong fields: `field_errors` holds the first 100 of them."""

    code = "validation_error"
    status = 422

    def __init__(self, field_errors: Sequence[FieldError], *, message: str | None = None) -> None:
        """`message` is for a job, which does not tell of its field_errors."""
        self.field_errors = tuple(field_errors[:100])
        names = [
            ".".join(map(str, field_error.loc[1:])) or "body" for field_error in self.field_errors
        ]
        fields = list(dict.fromkeys(names))
        shown = ", ".join(fields[:10]) + (" and more" if len(fields) > 10 else "")
        super().__init__(message or f"The request is not valid: see detail for {shown}.")


class RateLimitedError(RequestError):
    """One request too many in this minute, which is over after `retry_after` seconds."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamError(Sd3Error):
    """The upstream failed."""

    code = "upstream_error"
    status = 502
    retryable = True


class ContentPolicyError(UpstreamError):
    """The upstream will not generate this prompt or image."""

    code = "content_policy"
    status = 400
    retryable = False


class UpstreamRefusedError(UpstreamError):
    """The upstream refused the call itself: its key, model or schema. Asking again cannot help."""

    retryable = False


class UpstreamKeyError(UpstreamRefusedError):
    """The upstream does not know our key, or we have none for it."""


class UpstreamResponseError(UpstreamError):
    """An answer that was generated, perhaps paid, and cannot be used."""

    may_have_charged = True


class UpstreamTimeoutError(UpstreamError):
    """The call was sent and no response came in time. Its outcome and its charge are unknown."""

    may_have_charged = True


class UpstreamFailedError(UpstreamError):
    """A 5xx, or the connection lost after sending: generated or not, charged or not, is unknown."""

    may_have_charged = True


class UpstreamUnchargedError(UpstreamFailedError):
    """A failure that the upstream itself tells of, and by its documents does not charge."""

    may_have_charged = False


class UpstreamUnavailableError(UpstreamError):
    """Overloaded, down or out of reach; `retry_after` is in seconds, None when not known."""

    code = "upstream_unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamThrottledError(UpstreamUnavailableError):
    """The upstream says that it is asked too often."""


class UpstreamRateLimitedError(UpstreamUnavailableError):
    """Our own pacing or breaker holds back: no call was made."""


class StillRunningError(Sd3Error):
    """No answer in time; the job goes on without its caller."""

    code = "still_running"
    status = 504


class StorageError(Sd3Error):
    """DynamoDB or S3 failed after their own retries."""

    retryable = True


class IssuerError(Sd3Error):
    """The issuer's keys could not be read, so that nothing is known of its JWTs."""

    retryable = True


class LeaseLostError(Sd3Error):
    """Another attempt has taken the job over: this one's result is not written."""


class InvalidTransitionError(Sd3Error):
    """A bug: the job's state does not allow this change."""
