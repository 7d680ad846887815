"""The messages of clients: what is read of a POST, and checked before a method is called."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sd3.api.app import is_allowed_origin
from sd3.api.request import Request
from sd3.domain.json_body import parse_json
from sd3.errors import InvalidJsonError, Sd3Error

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions whose requests say their version themselves."""

OLD_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Revisions that begin with `initialize`, newest first."""

PREFIX: Final = "io.modelcontextprotocol/"
_VERSION: Final = f"{PREFIX}protocolVersion"
_CAPABILITIES: Final = f"{PREFIX}clientCapabilities"

_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
_HEADER_MISMATCH: Final = -32020
_UNSUPPORTED_VERSION: Final = -32022

_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


class RpcError(Exception):
    """An error of the protocol, with the HTTP status that it has in the newer revisions."""

    def __init__(self, code: int, message: str, *, status: int = 400, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.data = code, message, status, data


@dataclass(frozen=True)
class Call:
    """A JSON-RPC request that was checked, and whether its client is of the newer era."""

    method: str
    params: Mapping[str, Any]
    is_modern: bool


def check_origin(request: Request) -> None:
    """Refuse the pages of origins that are not allowed, as the protocol demands."""
    if not all(map(is_allowed_origin, request.headers("Origin"))):
        raise RpcError(_INVALID_REQUEST, "This Origin is not allowed.", status=403)


def read_message(request: Request) -> dict[str, Any]:
    """Read the one message of the body, whose shape is JSON-RPC's."""
    try:
        message = parse_json(request.json_body())
    except InvalidJsonError as error:
        raise RpcError(_PARSE_ERROR, error.message) from error
    except Sd3Error as error:
        raise RpcError(_INVALID_REQUEST, error.message, status=error.status) from error
    if isinstance(message, list):
        raise RpcError(_INVALID_REQUEST, "Send one message: batches are not supported.")
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(_INVALID_REQUEST, 'The body should be an object with "jsonrpc": "2.0".')
    if not isinstance(message.get("method"), str):
        raise RpcError(_INVALID_REQUEST, "method should be a string.")
    return message


def is_notification(message: Mapping[str, Any]) -> bool:
    """Return whether a message wants no answer. Every other one has an id."""
    if "id" in message:
        return False
    if message["method"].startswith("notifications/"):
        return True
    raise RpcError(_INVALID_REQUEST, "A request has an id.")


def id_of(message: Mapping[str, Any]) -> str | int:
    """Return the id of a request."""
    found = message["id"]
    if isinstance(found, str | int) and not isinstance(found, bool):
        return found
    raise RpcError(_INVALID_REQUEST, "id should be a string or an integer.")


def _envelope(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `params._meta`; empty if there is none."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def is_old(request: Request, message: Mapping[str, Any]) -> bool:
    """Return whether a request is of the time when `initialize` said the version for all others.

    It names no version itself, and its header none or an old one. Before the header existed, the
    version was 2025-03-26.
    """
    if _VERSION in _envelope(message):
        return False
    sent = request.headers("MCP-Protocol-Version")
    return message["method"] == "initialize" or set(sent) <= set(OLD_VERSIONS)


def read_call(request: Request, message: Mapping[str, Any]) -> Call:
    """Check the version of a request, and the headers that the newer revisions repeat it in."""
    method, params = message["method"], message.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params should be an object.")
    if is_old(request, message):
        return Call(method, params, is_modern=False)
    sent = request.headers("MCP-Protocol-Version")
    meta = _envelope(message)
    if _VERSION not in meta and sent[0] not in MODERN_VERSIONS:
        raise _unsupported(sent[0])
    for key, kind in ((_VERSION, str), (_CAPABILITIES, dict)):
        if not isinstance(meta.get(key), kind):
            raise RpcError(INVALID_PARAMS, f"params._meta should have {key}.")
    _check_headers(request, method, meta[_VERSION], params.get("name"))
    if meta[_VERSION] not in MODERN_VERSIONS:
        raise _unsupported(meta[_VERSION])
    return Call(method, params, is_modern=True)


def _check_headers(request: Request, method: str, version: str, name: object) -> None:
    """Compare the headers by which proxies choose with the body, which is what counts here."""
    expected = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    if method == "tools/call" and isinstance(name, str):
        expected["Mcp-Name"] = name
    for header, value in expected.items():
        if [_decoded(text) for text in request.headers(header)] != [value]:
            msg = f"The header {header} should be there once, and be as in the body."
            raise RpcError(_HEADER_MISMATCH, msg)


def _decoded(text: str) -> str | None:
    """Decode the value of a header that is written as =?base64?...?= since it is not ASCII."""
    found = _ENCODED.fullmatch(text)
    if found is None:
        return text
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _unsupported(version: str) -> RpcError:
    supported = [*MODERN_VERSIONS, *OLD_VERSIONS]
    data = {"supported": supported, "requested": version[:64]}
    return RpcError(_UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)
