"""Every way in which a request can fail, each with its code, HTTP status and whether to retry.

Sd3Error                             500 internal_error
├── RequestError                     the client's mistake: nothing was changed or paid
│   ├── InvalidJsonError             400 invalid_json
│   ├── UnauthorizedError            401 unauthorized
│   ├── BudgetExceededError          402 budget_exceeded
│   ├── ForbiddenError               403 forbidden
│   ├── NotFoundError                404 not_found
│   ├── MethodNotAllowedError        405 method_not_allowed
│   ├── GoneError                    410 gone
│   ├── IdempotencyMismatchError     409 idempotency_mismatch
│   ├── NotCancelableError           409 not_cancelable
│   ├── NotReproducibleError         409 not_reproducible
│   ├── NotCachedError               412 not_cached
│   ├── DeliveryPendingError         409 delivery_pending
│   ├── TooLargeError                413 too_large
│   ├── UnsupportedMediaTypeError    415 unsupported_media_type
│   ├── InvalidRequestError          422 validation_error, with one FieldError for each wrong field
│   └── RateLimitedError             429 rate_limited
├── UpstreamError                    502 upstream_error: it failed, and may succeed when retried
│   ├── ContentPolicyError           400 content_policy: it refuses the prompt or image, final
│   ├── UpstreamRefusedError         502 upstream_error: it refuses our call (credit, model), final
│   │   └── UpstreamKeyError         502 upstream_error: there is no key, or it is not known
│   ├── UpstreamResponseError        502 upstream_error: a response that cannot be used, final
│   ├── UpstreamTimeoutError         502 upstream_error: no response in time, outcome unknown
│   ├── UpstreamFailedError          502 upstream_error: it broke during the call, outcome unknown
│   │   └── UpstreamUnchargedError   502 upstream_error: it broke, and does not charge for that
│   └── UpstreamUnavailableError     503 upstream_unavailable: overloaded, down or out of reach
│       ├── UpstreamThrottledError   503 upstream_unavailable: it gets too many calls
│       └── UpstreamRateLimitedError 503 upstream_unavailable: our rate limiter allows no call
├── StillRunningError                504 still_running: the job goes on without its caller
├── StorageError                     500 internal_error: DynamoDB or S3 failed
│   └── StorageBusyError             503 upstream_unavailable: too busy, nothing was charged
├── UnexpectedError                  500 internal_error: a bug while a job was worked on, final
├── IssuerError                      500 internal_error: the issuer of JWTs cannot be reached
├── ChangedError                     500 internal_error: somebody else has written meanwhile
├── InvalidTransitionError           500 internal_error: a bug, the job's state forbids the change
└── LeaseLostError                   500 internal_error: another attempt owns the job now
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One wrong field: where it is (`("body", "seed", 1)`), what is wrong, and pydantic's type."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class Sd3Error(Exception):
    """Root of the tree. `message` is for clients: no secret, prompt, link or upstream's body."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    may_have_charged: bool = False
    """Whether a call that failed like this can be on the operator's bill."""
    job_id: str | None = None
    """The job that failed, once there is one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(Sd3Error):
    """The client's mistake. Nothing was changed and nothing was paid."""


class InvalidJsonError(RequestError):
    """The body is not JSON."""

    code = "invalid_json"
    status = 400


class UnauthorizedError(RequestError):
    """There is no token, or nothing that looks like one."""

    code = "unauthorized"
    status = 401


class BudgetExceededError(RequestError):
    """The request costs more than what is left of the client's daily budget."""

    code = "budget_exceeded"
    status = 402


class ForbiddenError(RequestError):
    """The token is not known, not active, or lacks the scope."""

    code = "forbidden"
    status = 403


class NotFoundError(RequestError):
    """It does not exist, or belongs to another client."""

    code = "not_found"
    status = 404


class MethodNotAllowedError(RequestError):
    """The address is there, but not for this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allowed: str) -> None:
        """`allowed` is the value of the header Allow."""
        super().__init__(message)
        self.allowed = allowed


class GoneError(RequestError):
    """The job has expired, was deleted, or was canceled while its caller was held."""

    code = "gone"
    status = 410


class IdempotencyMismatchError(RequestError):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_mismatch"
    status = 409


class NotCancelableError(RequestError):
    """The job has ended."""

    code = "not_cancelable"
    status = 409


class NotReproducibleError(RequestError):
    """The job cannot be generated again as it was: it has no images, or what made them is gone."""

    code = "not_reproducible"
    status = 409


class NotCachedError(RequestError):
    """Only an earlier result was wanted (Cache-Control: only-if-cached), and there is none."""

    code = "not_cached"
    status = 412


class DeliveryPendingError(RequestError):
    """The delivery has not ended, so it cannot begin again."""

    code = "delivery_pending"
    status = 409


class TooLargeError(RequestError):
    """The body is larger than the service takes, as it came or inflated."""

    code = "too_large"
    status = 413


class UnsupportedMediaTypeError(RequestError):
    """The body's Content-Type is not JSON in UTF-8, or its Content-Encoding cannot be read."""

    code = "unsupported_media_type"
    status = 415


class InvalidRequestError(RequestError):
    """One or more fields are wrong: `field_errors` holds the first 100."""

    code = "validation_error"
    status = 422

    def __init__(self, field_errors: Sequence[FieldError], *, message: str | None = None) -> None:
        """`message` replaces the default text, for a job, which shows no fields."""
        self.field_errors = tuple(field_errors[:100])
        names = [
            ".".join(map(str, field_error.loc[1:])) or "body" for field_error in self.field_errors
        ]
        fields = list(dict.fromkeys(names))
        shown = ", ".join(fields[:10]) + (" and more" if len(fields) > 10 else "")
        super().__init__(message or f"The request is not valid: see detail for {shown}.")


class RateLimitedError(RequestError):
    """One request too many in this minute, which ends in `retry_after` seconds."""

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
    """The upstream refuses this prompt or image."""

    code = "content_policy"
    status = 400
    retryable = False


class UpstreamRefusedError(UpstreamError):
    """The upstream refused the call itself: its key, model or schema. Asking again cannot help."""

    retryable = False


class UpstreamKeyError(UpstreamRefusedError):
    """The upstream does not know our key, or we have none for it."""


class UpstreamResponseError(UpstreamError):
    """The response, which is perhaps paid, cannot be used. The next one would be the same."""

    retryable = False
    may_have_charged = True


class UpstreamTimeoutError(UpstreamError):
    """The call was sent and no response came in time. Its outcome and its charge are unknown."""

    may_have_charged = True


class UpstreamFailedError(UpstreamError):
    """A 5xx, or a connection lost after sending: the outcome and the charge are unknown.

    A response that is cut off is such a lost connection too.
    """

    may_have_charged = True


class UpstreamUnchargedError(UpstreamFailedError):
    """A failure that the upstream reports itself and, by its documents, does not charge."""

    may_have_charged = False


class UpstreamUnavailableError(UpstreamError):
    """Overloaded, down or out of reach. `retry_after` is in seconds; None when not known."""

    code = "upstream_unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamThrottledError(UpstreamUnavailableError):
    """The upstream says that it gets too many calls."""


class UpstreamRateLimitedError(UpstreamUnavailableError):
    """Our own rate limiter or circuit breaker allowed no call; none was made."""


class StillRunningError(Sd3Error):
    """No result in time; the job goes on without its caller, and ends in `eta_seconds` if known."""

    code = "still_running"
    status = 504
    eta_seconds: float | None = None


class StorageError(Sd3Error):
    """DynamoDB or S3 failed after their own retries."""

    retryable = True


class StorageBusyError(StorageError):
    """DynamoDB, S3 or another service of AWS takes no more calls now. Nothing was charged."""

    code = "upstream_unavailable"
    status = 503


class UnexpectedError(Sd3Error):
    """A bug: an exception that nobody expected, which is its cause. It would happen again."""

    def __init__(self, bug: Exception, *, may_have_charged: bool = False) -> None:
        super().__init__("Something went wrong here.")
        self.__cause__ = bug
        self.may_have_charged = may_have_charged


class IssuerError(Sd3Error):
    """The issuer's keys could not be read, so its JWTs cannot be checked."""

    retryable = True


class LeaseLostError(Sd3Error):
    """Another attempt has taken the job over; this one's result is not written."""


class ChangedError(Sd3Error):
    """An item has changed since it was read, and nothing was written."""

    retryable = True


class InvalidTransitionError(Sd3Error):
    """A bug: the job's state does not allow this change."""
