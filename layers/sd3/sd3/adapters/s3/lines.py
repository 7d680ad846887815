"""How a file of lines, which can be larger than the memory, is put into S3."""

import base64
import hashlib
from typing import IO, Any, Final

LINES_TYPE: Final = "application/jsonl"


def lines_from(file: IO[bytes]) -> dict[str, Any]:
    """Return what a put takes to send a file from its beginning, with its checksum."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    file.seek(0)
    checksum = base64.b64encode(digest).decode()
    return {"Body": file, "ContentType": LINES_TYPE, "ChecksumSHA256": checksum}
