"""The upstreams' keys: one secret for all, read by Powertools when a key is first needed."""

import time
from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

import pydantic_core

from sd3.adapters.aws import storage_errors
from sd3.errors import UpstreamKeyError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MAX_AGE_SECONDS: Final = 86_400
"""How long a secret is kept. A rotated key is found sooner: the old one is rejected."""

_RENEW_SECONDS: Final = 60.0
"""Between two reads after a rejected key: each one costs, and most return the same key again."""

_MISSING: Final = {
    "ResourceNotFoundException": lambda _: UpstreamKeyError("The upstream's secret does not exist.")
}


class UpstreamKeys:
    """The secret that holds the keys: a JSON object of them by name, or one as plain text.

    Plain text is the key of `plain_for` alone: no vendor gets another one's key.
    """

    def __init__(
        self,
        client: Callable[[], "SecretsManagerClient"],
        arn: str,
        *,
        plain_for: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call nothing yet; `arn` is empty where no upstream needs a key."""
        self._client, self._arn, self._clock = client, arn, clock
        self._plain_for = plain_for
        self._lock = Lock()
        self._renewed_at = -_RENEW_SECONDS

    def of(self, upstream: str) -> "UpstreamKey":
        """Return the key of one upstream, which is read later."""
        return UpstreamKey(self, upstream)

    def read(self, upstream: str) -> str:
        """Return the key of one upstream, or an empty text if there is none.

        Raises UpstreamKeyError for a secret that does not exist or has the wrong form, and
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
        """Read the secret again, but at most once a minute; raises what `read` does."""
        with self._lock:
            if self._clock() - self._renewed_at >= _RENEW_SECONDS:
                self._renewed_at = self._clock()
                self._text(force_fetch=True)

    @cached_property
    def _fetch(self) -> Callable[[bool], object]:
        # Only a call to an upstream needs Powertools' reader: no cold start imports it.
        from aws_lambda_powertools.utilities.parameters import (  # noqa: PLC0415
            GetParameterError,
            SecretsProvider,
        )

        provider = SecretsProvider(boto3_client=self._client())

        def fetch(force: bool) -> object:
            try:
                return provider.get(self._arn, max_age=_MAX_AGE_SECONDS, force_fetch=force)
            except GetParameterError as error:
                # It has only the text of boto3's error, which itself says what is wrong.
                raise error.__context__ or error from None

        return fetch

    def _text(self, *, force_fetch: bool = False) -> str:
        if not self._arn:
            return ""
        with storage_errors("The upstream's secret could not be read.", instead=_MISSING):
            secret = self._fetch(force_fetch)
        if not isinstance(secret, str):
            raise UpstreamKeyError("The upstream's secret is binary, not text.")
        return secret.strip()


class UpstreamKey:
    """The key of one upstream; see http.session.ApiKey."""

    def __init__(self, keys: UpstreamKeys, upstream: str) -> None:
        self._keys, self._upstream = keys, upstream

    def read(self) -> str:
        """Return the key, or an empty text where the secret has none for this upstream.

        Raises UpstreamKeyError for a secret that does not exist or has the wrong form, and
        StorageError.
        """
        return self._keys.read(self._upstream)

    def renew(self, rejected: str) -> bool:
        """Read the secret again; return whether it has another key than the rejected one."""
        self._keys.renew()
        return self.read() != rejected


def _key_in(text: str, upstream: str) -> str:
    try:
        key = pydantic_core.from_json(text).get(upstream, "")
    except ValueError:
        raise UpstreamKeyError("The upstream's secret is neither text nor JSON.") from None
    return key.strip() if isinstance(key, str) else ""
