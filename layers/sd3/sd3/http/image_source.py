"""Images that clients name by their URLs, fetched from their servers."""

from contextlib import closing
from http.client import HTTPException
from typing import Final

from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import HTTPResponse

from sd3.domain.client_url import ClientUrl, UrlError, UrlPolicy, check_policy, read_url
from sd3.http.public_connection import open_connection

_PIECE_BYTES: Final = 1024 * 1024

_HEADERS: Final = {
    "User-Agent": "sd3-image-service",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}

_OK: Final = 200

_REDIRECTS: Final = range(300, 400)

_TOO_LATE: Final = "it did not arrive in time"

_NOT_FETCHED: Final = "it could not be fetched"
"""What is said of all that fails before a public server answers: none of it can be told apart."""


class ImageSource:
    """Fetches what clients name: by one GET without credentials, within bounds of time and size."""

    def __init__(self, policy: UrlPolicy, *, ca_bundle: str | None = None) -> None:
        self._policy = policy
        self._ca_bundle = ca_bundle

    def check(self, url: str) -> None:
        """Raise UrlError for a URL that is not fetched, by its form. Nothing is looked up."""
        self._read(url)

    def fetch(self, url: str, *, max_bytes: int, seconds: float) -> bytes:
        """Fetch a URL. Whatever its server says that it is, only the bytes count.

        Raises UrlError for all that can go wrong.
        """
        read = self._read(url)
        connection = open_connection(read, self._policy, seconds=seconds, ca_bundle=self._ca_bundle)
        try:
            connection.request(
                "GET", read.target, headers=_HEADERS, preload_content=False, decode_content=False
            )
            with closing(connection.getresponse()) as response:
                return _body(response, max_bytes)
        except (TimeoutError, ReadTimeoutError) as error:
            raise UrlError(_TOO_LATE) from error
        except (OSError, HTTPError, HTTPException) as error:
            raise UrlError(_NOT_FETCHED) from error
        finally:
            connection.close()

    def _read(self, url: str) -> ClientUrl:
        read = read_url(url)
        check_policy(read, self._policy)
        return read


def _body(response: HTTPResponse, max_bytes: int) -> bytes:
    """Read the body of a 200, and no more of it than is allowed."""
    if response.status in _REDIRECTS:
        raise UrlError("its server redirects: name the address that it leads to")
    if response.status != _OK:
        raise UrlError(f"its server answered {response.status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UrlError("its server compresses it, though it was asked not to")
    too_large = UrlError(f"it has more than {max_bytes} bytes")
    if (response.length_remaining or 0) > max_bytes:
        raise too_large
    body = bytearray()
    while piece := response.read(_PIECE_BYTES, decode_content=False):
        body += piece
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)
