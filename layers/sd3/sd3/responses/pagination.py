"""The cursors of lists. A cursor is opaque, and valid for one client only."""

import base64
import hashlib
from datetime import datetime

import pydantic_core

from sd3.domain.job import JOB_ID
from sd3.errors import FieldError, InvalidRequestError

Position = tuple[str, str]


def cursor_from(position: Position | None, *, client_id: str) -> str | None:
    """Write the cursor of the next page; None at the end."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(pydantic_core.to_json([_mark(client_id), *position])).decode()


def position_in(cursor: str | None, *, client_id: str) -> Position | None:
    """Read a cursor. Raises InvalidRequestError for one that is not this client's."""
    if cursor is None:
        return None
    field_error = FieldError(("query", "cursor"), "not a cursor of this list", "cursor")
    try:
        values = pydantic_core.from_json(base64.b64decode(cursor.encode(), b"-_", validate=True))
    except ValueError as error:
        raise InvalidRequestError([field_error]) from error
    match values:
        case [mark, str(created_at), str(job_id), *_] if mark == _mark(client_id):
            if _is_time(created_at) and JOB_ID.fullmatch(job_id):
                return created_at, job_id
    raise InvalidRequestError([field_error])


def _is_time(text: str) -> bool:
    """Return whether this is a time as we write it. Python reads one of any length, too."""
    try:
        return datetime.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _mark(client_id: str) -> str:
    return hashlib.sha256(client_id.encode()).hexdigest()[:12]
