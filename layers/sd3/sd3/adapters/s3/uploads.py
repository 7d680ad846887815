"""Uploads in S3: signed forms by which clients send large files, and those of images."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.domain.image import MAX_UPLOAD_BYTES, UploadForm
from sd3.errors import NotFoundError, TooLargeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FOLDER: Final = "_uploads"
"""No client's id begins with _, so a lifecycle rule can remove uploads separately from images."""

FORM_TTL: Final = timedelta(minutes=15)

KEEP: Final = timedelta(days=1)

_MISSING: Final = dict.fromkeys(
    ("AccessDenied", "NoSuchKey"), lambda _: NotFoundError("There is no such upload.")
)
"""The error codes of a missing key. S3 returns the first one where ListBucket is denied."""


class UploadStore:
    """Uploads under `_uploads/{client}/{upload}`. A client cannot read another client's upload."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        credentials_expiry: Callable[[], datetime | None],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._credentials_expiry = credentials_expiry

    def form(
        self, client_id: str, upload_id: str, *, content_type: str, max_bytes: int, now: datetime
    ) -> UploadForm:
        """Sign a form. Its policy fixes the bucket, key and type, and a size from 1 byte on.

        The form expires after 15 minutes, or earlier with the credentials that sign it. Signing
        makes no call.
        """
        ends = min(filter(None, (now + FORM_TTL, self._credentials_expiry())))
        signed = self._client.generate_presigned_post(
            Bucket=self._bucket,
            Key=upload_key(client_id, upload_id),
            Fields={"Content-Type": content_type},
            Conditions=[
                {"Content-Type": content_type},
                ["content-length-range", 1, max_bytes],
            ],
            ExpiresIn=max(int((ends - now).total_seconds()), 1),
        )
        # The policy's expiry is in whole seconds.
        return UploadForm(signed["url"], signed["fields"], ends.replace(microsecond=0))

    def read(self, client_id: str, upload_id: str, *, now: datetime) -> bytes:
        """Read an upload.

        Raises NotFoundError for a missing upload and for one that is more than a day old, which S3
        may not have removed yet. Raises TooLargeError before it reads the body, and StorageError.
        """
        with storage_errors("The upload could not be read.", instead=_MISSING):
            reply = self._client.get_object(
                Bucket=self._bucket, Key=upload_key(client_id, upload_id)
            )
            with closing(reply["Body"]) as body:
                if reply["LastModified"] + KEEP <= now:
                    raise NotFoundError("The upload has expired.")
                if reply["ContentLength"] > MAX_UPLOAD_BYTES:
                    raise TooLargeError(f"The upload has more than {MAX_UPLOAD_BYTES} bytes.")
                return body.read()


def upload_key(client_id: str, upload_id: str) -> str:
    """Return where a client's upload is."""
    return f"{FOLDER}/{client_id}/{upload_id}"
