"""The secrets of Secrets Manager: the upstreams' keys, and the secret of our own signatures."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

import pydantic_core
from botocore.exceptions import ClientError

from sd3.adapters.aws import storage_errors
from sd3.errors import StorageError, UpstreamKeyError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MAX_AGE_SECONDS: Final = 86_400
"""How long a secret is cached. A rotated key is found sooner, since the old key is rejected."""

_RENEW_SECONDS: Final = 60.0
"""The least time between two reads after a rejected key. Each read costs, and most of them return
the same key."""

_PATIENCE_SECONDS: Final = 1.0
"""How long an image waits for the rest of a read that began before it was generated."""

_logger = logging.getLogger(__name__)


def _final(message: str) -> Callable[[ClientError], UpstreamKeyError]:
    """Return what logs and makes an error that asking again does not change.

    The job has the message, which does not say which code of AWS it was.
    """

    def make(error: ClientError) -> UpstreamKeyError:
        _logger.error(message, extra={"aws_code": error.response["Error"]["Code"]})
        return UpstreamKeyError(message)

    return make


_FINAL: Final = {
    "AccessDeniedException": _final("The upstream's secret, or its KMS key, may not be used."),
    "DecryptionFailure": _final("The upstream's secret cannot be decrypted with its KMS key."),
    "InvalidRequestException": _final("The upstream's secret is scheduled for deletion."),
    "ResourceNotFoundException": _final("The upstream's secret does not exist."),
}
"""What Secrets Manager says of a secret that somebody has to put right."""


class UpstreamKeys:
    """The secret with the upstreams' keys: a JSON object of keys by name, or one key as plain text.

    Plain text is the key of `plain_for` only, so that no vendor gets another vendor's key.
    """

    def __init__(
        self,
        client: Callable[[], "SecretsManagerClient"],
        arn: str,
        *,
        plain_for: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the keys without a call; `arn` is empty if no upstream needs a key."""
        self._client, self._arn, self._clock = client, arn, clock
        self._plain_for = plain_for
        self._lock = Lock()
        self._renewed_at = -_RENEW_SECONDS

    def prepare(self) -> None:
        """Build what the first read needs, without a call. It does nothing without a secret."""
        if self._arn:
            _ = self._fetch

    def of(self, upstream: str) -> "UpstreamKey":
        """Return an object that reads the key of one upstream."""
        return UpstreamKey(self, upstream)

    def read(self, upstream: str) -> str:
        """Return the key of one upstream, or an empty string if there is none.

        Raises UpstreamKeyError for a secret that cannot be used or has the wrong form, and
        StorageError.
        """
        with self._lock:
            text = self._text()
        if text.startswith("{"):
            return _key_in(text, upstream)
        if text and self._plain_for is None:
            raise UpstreamKeyError("The secret of several upstreams must be JSON, keys by name.")
        return text if upstream == self._plain_for else ""

    def renew(self) -> None:
        """Read the secret again, at most once a minute. Raises the same errors as `read`."""
        with self._lock:
            if self._clock() - self._renewed_at >= _RENEW_SECONDS:
                self._renewed_at = self._clock()
                self._text(force_fetch=True)

    @cached_property
    def _fetch(self) -> Callable[[bool], object]:
        # Only a call to an upstream needs Powertools' reader, so no cold start imports it.
        from aws_lambda_powertools.utilities.parameters import (  # noqa: PLC0415
            GetParameterError,
            SecretsProvider,
        )

        provider = SecretsProvider(boto3_client=self._client())

        def fetch(force: bool) -> object:
            try:
                return provider.get(self._arn, max_age=_MAX_AGE_SECONDS, force_fetch=force)
            except GetParameterError as error:
                # GetParameterError has only the text of boto3's error. The original has its code.
                raise error.__context__ or error from None

        return fetch

    def _text(self, *, force_fetch: bool = False) -> str:
        if not self._arn:
            return ""
        with storage_errors("The upstream's secret could not be read.", instead=_FINAL):
            secret = self._fetch(force_fetch)
        if not isinstance(secret, str):
            raise UpstreamKeyError("The upstream's secret is binary, not text.")
        return secret.strip()


class UpstreamKey:
    """The key of one upstream; see http.auth.ApiKey."""

    def __init__(self, keys: UpstreamKeys, upstream: str) -> None:
        self._keys, self._upstream = keys, upstream

    def read(self) -> str:
        """Return the key, or an empty string if the secret has none for this upstream.

        Raises UpstreamKeyError for a secret that cannot be used or has the wrong form, and
        StorageError.
        """
        return self._keys.read(self._upstream)

    def renew(self, rejected: str) -> bool:
        """Read the secret again; return whether its key differs from the rejected one."""
        self._keys.renew()
        return self.read() != rejected


class MasterSecrets:
    """The secret that our own signatures are made with, or several, of which the first one signs.

    It is one text with white space between the secrets. Each process reads it once. A signature is
    worth no wait, so it is read in the background, and again after a minute if that fails.
    """

    def __init__(
        self,
        client: Callable[[], "SecretsManagerClient"],
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up without a call; `name` is empty where there is no secret."""
        self._client, self._name, self._clock = client, name, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="secret")
        self._lock = Lock()
        self._reading: Future[tuple[bytes, ...]] | None = None
        self._began_at = -_RENEW_SECONDS

    def prepare(self) -> None:
        """Build the client, without a call. It does nothing without a secret."""
        if self._name:
            self._client()

    def prefetch(self) -> None:
        """Begin to read the secret, unless it is read, or that has failed within a minute."""
        if not self._name:
            return
        with self._lock:
            is_due = self._clock() - self._began_at >= _RENEW_SECONDS
            if self._reading is None or (is_due and _has_failed(self._reading)):
                self._began_at = self._clock()
                self._reading = self._pool.submit(self.read)

    def fetched(self) -> tuple[bytes, ...]:
        """Return the secrets as soon as they are read, and none if that fails or takes too long."""
        self.prefetch()
        try:
            return self._reading.result(_PATIENCE_SECONDS) if self._reading else ()
        except (TimeoutError, StorageError):
            _logger.exception("the master secret could not be read")
            return ()

    def read(self) -> tuple[bytes, ...]:
        """Return the secrets, and none if there is no secret. Raises StorageError."""
        if not self._name:
            return ()
        with storage_errors("The master secret could not be read."):
            text = self._client().get_secret_value(SecretId=self._name).get("SecretString", "")
        return tuple(text.encode().split())


def _has_failed(reading: "Future[tuple[bytes, ...]]") -> bool:
    return reading.done() and reading.exception() is not None


def _key_in(text: str, upstream: str) -> str:
    try:
        key = pydantic_core.from_json(text).get(upstream, "")
    except ValueError:
        raise UpstreamKeyError("The upstream's secret is neither text nor JSON.") from None
    return key.strip() if isinstance(key, str) else ""
