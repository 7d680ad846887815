"""A proxy before the API that fails some calls, as gateways and networks do."""

from enum import Enum, auto
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    http_reply,
    raw,
    silent,
)

_NOT_FORWARDED: Final = frozenset(("host", "content-length", "connection", "accept-encoding"))


class Fault(Enum):
    """What becomes of a call. The service gets those that are lost or cut off."""

    BUSY = auto()
    RESET = auto()
    LOST = auto()
    CUT_OFF = auto()


_BEFORE: Final = {Fault.BUSY: http_reply(503, b"{}", retry_after="7"), Fault.RESET: raw(b"")}
_AFTER: Final = {Fault.LOST: raw(b""), Fault.CUT_OFF: http_reply(504, b"{}", retry_after="1")}


class FlakyGateway(MisbehavingServer):
    """Does to each call what is next in its script, and forwards all calls after that."""

    def __init__(self, api_url: str, *faults: Fault) -> None:
        super().__init__(silent)
        address = urlsplit(api_url)
        self._origin = f"{address.scheme}://{address.netloc}"
        self.api_url = self.url + address.path
        self.faults = list(faults)

    def next_reply(self, received: Received) -> Reply:
        self.requests.append(received)
        fault = self.faults.pop(0) if self.faults else None
        if fault in _BEFORE:
            return _BEFORE[fault]
        answer = self._answer(received)
        return _AFTER[fault] if fault else answer

    def _answer(self, received: Received) -> Reply:
        with requests.Session() as http:
            http.trust_env = False
            response = http.request(
                received.method,
                self._origin + received.path,
                data=received.body,
                headers={k: v for k, v in received.headers.items() if k not in _NOT_FORWARDED},
            )
        names = ("Retry-After", "Preference-Applied")
        told: dict[str, Any] = {
            n.replace("-", "_"): response.headers[n] for n in names if n in response.headers
        }
        return http_reply(response.status_code, response.content, **told)
