"""POSTs to clients' receivers: each once, to a public address, and reads the response's head only.

What a receiver answers is neither kept nor shown: by it, a client could read what only this service
reaches.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPException
from ssl import SSLError
from typing import Final

from urllib3.exceptions import HTTPError

from sd3.domain.client_url import UrlError, UrlPolicy, check_policy, read_url
from sd3.domain.delivery import WebhookReply
from sd3.http.error_response import ErrorResponse
from sd3.http.public_connection import open_connection

SECONDS: Final = 15.0
"""The time for a whole exchange, of the 15 to 30 s that Standard Webhooks recommends."""

_HEADERS: Final = {"User-Agent": "sd3-image-service", "Connection": "close"}


class HttpWebhookReceiver:
    """The receivers that clients name."""

    def __init__(
        self,
        policy: UrlPolicy,
        *,
        ca_bundle: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._ca_bundle, self._clock = policy, ca_bundle, clock

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Send a body once, and read the status of the response. Raises nothing.

        Redirects are not followed, so their statuses are those of failures.
        """
        began = self._clock()
        status, error, retry_after = self._exchange(url, headers, body)
        return WebhookReply(status, error, int(1000 * (self._clock() - began)), retry_after)

    def _exchange(
        self, text: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, str | None, float | None]:
        try:
            url = read_url(text)
            check_policy(url, self._policy)
        except UrlError:
            return None, "address", None
        connection = open_connection(url, self._policy, seconds=SECONDS, ca_bundle=self._ca_bundle)
        try:
            with closing(connection):
                head = {**_HEADERS, **headers}
                # Without preload_content=False, urllib3 would read the whole body.
                connection.request("POST", url.target, body, head, preload_content=False)
                response = connection.getresponse()
                answer = ErrorResponse(response.status, response.headers, body=b"")
                return answer.status, None, answer.retry_after
        except (OSError, HTTPError, HTTPException) as error:
            return None, _kind_of(error), None


def _kind_of(error: BaseException) -> str:
    """Name what went wrong, in words that tell nothing of what is behind an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLError):
            return "tls"
        if isinstance(cause, TimeoutError):
            return "timeout"
        cause = cause.__cause__ or cause.__context__
    return "connection"
