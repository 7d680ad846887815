"""The upstreams' keys: one secret for all, read when it is first needed, and again when refused."""

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

import pydantic_core
from botocore.exceptions import BotoCoreError, ClientError

from sd3.errors import StorageError, UpstreamKeyError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_RENEW_SECONDS: Final = 60.0
"""Between two looks at the secret because of a refused key: each one costs, and says the same."""


class UpstreamKeys:
    """The secret that holds the keys: a JSON object of them by name, or one as plain text.

    Plain text is the key of `plain_for`, and of nobody else: no vendor gets another's key.
    """

    def __init__(
        self,
        secrets: Callable[[], "SecretsManagerClient"],
        arn: str,
        *,
        plain_for: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`arn` is empty where no upstream needs a key. Nothing is called yet."""
        self._secrets, self._arn, self._clock = secrets, arn, clock
        self._plain_for = plain_for
        self._lock = Lock()
        self._text: str | None = None
        self._renewed_at = -_RENEW_SECONDS

    def of(self, upstream: str) -> "UpstreamKey":
        """The key of one upstream."""
        return UpstreamKey(self, upstream)

    def read(self, upstream: str) -> str:
        """The key of one upstream, empty when there is none.

        Raises UpstreamKeyError for a secret that is not there or cannot be one, and StorageError.
        """
        with self._lock:
            if self._text is None:
                self._text = self._fetch()
            text = self._text
        if text.startswith("{"):
            return _key_in(text, upstream)
        if text and self._plain_for is None:
            raise UpstreamKeyError("The secret of several upstreams must be JSON, keys by name.")
        return text if upstream == self._plain_for else ""

    def renew(self) -> None:
        """Read the secret again, unless that was just done."""
        with self._lock:
            if self._clock() - self._renewed_at >= _RENEW_SECONDS:
                self._renewed_at = self._clock()
                self._text = self._fetch()

    def _fetch(self) -> str:
        if not self._arn:
            return ""
        try:
            return self._secrets().get_secret_value(SecretId=self._arn)["SecretString"].strip()
        except KeyError as error:
            raise UpstreamKeyError("The upstream's secret is binary, not text.") from error
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _is_missing(error):
                raise UpstreamKeyError("The upstream's secret does not exist.") from error
            raise StorageError("The upstream's secret could not be read.") from error


class UpstreamKey:
    """The key of one upstream; see http.Key."""

    def __init__(self, keys: UpstreamKeys, upstream: str) -> None:
        self._keys, self._upstream = keys, upstream

    def read(self) -> str:
        """The key; empty where there is no secret, or none of its keys is for this upstream.

        Raises UpstreamKeyError for a secret that cannot be one, and StorageError.
        """
        return self._keys.read(self._upstream)

    def renew(self, refused: str) -> bool:
        """Read the secret again; whether its key is another than the one that was refused."""
        self._keys.renew()
        return self.read() != refused


def _key_in(text: str, upstream: str) -> str:
    try:
        key = pydantic_core.from_json(text).get(upstream, "")
    except ValueError:
        raise UpstreamKeyError("The upstream's secret is neither text nor JSON.") from None
    return key.strip() if isinstance(key, str) else ""


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ResourceNotFoundException"
