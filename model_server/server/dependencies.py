"""FastAPI dependencies: they check the bearer token, and read and parse the body."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from model_server.contract.schemas import GenerateRequest

_BEARER: Final = HTTPBearer(auto_error=False)


def token_checker(token: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that raises a 401 without a bearer token, and a 403 for another one."""

    async def check_token(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        if credentials is None:
            raise HTTPException(401, "A bearer token is needed.", {"WWW-Authenticate": "Bearer"})
        if not hmac.compare_digest(credentials.credentials.encode("latin-1"), token.encode()):
            raise HTTPException(403, "The bearer token is not known.")

    return check_token


def body_parser(max_bytes: int) -> Callable[..., GenerateRequest]:
    """Return a dependency that parses the body, and raises a 413 for one over `max_bytes`."""

    async def read_body(request: Request) -> bytes:
        return await _read_body(request, max_bytes)

    # FastAPI runs a plain function in a thread: decoding a large init image takes long.
    def parse_body(body: Annotated[bytes, Depends(read_body)]) -> GenerateRequest:
        return _parse(body)

    return parse_body


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        # Up to twice the limit is read, and the excess dropped: a client whose connection is
        # closed while it sends sees a broken connection instead of the 413.
        if size > 2 * max_bytes:
            break
        if size <= max_bytes:
            body += chunk
    if size > max_bytes:
        raise HTTPException(413, f"The body should be at most {max_bytes} bytes.")
    return bytes(body)


def _parse(body: bytes) -> GenerateRequest:
    try:
        return GenerateRequest.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
    raise RequestValidationError(details)
