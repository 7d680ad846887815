"""Uploads in S3: the forms that clients send images with, and the images that they sent."""

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
"""No client's id begins with _, so uploads are removed apart from everybody's images."""

FORM_TTL: Final = timedelta(minutes=15)

KEEP: Final = timedelta(days=1)

_MISSING: Final = dict.fromkeys(
    ("AccessDenied", "NoSuchKey"), lambda _: NotFoundError("There is no such upload.")
)
"""The codes for a key that does not exist; S3 answers the first one where ListBucket is denied."""


class UploadStore:
    """Uploads under `_uploads/{client}/{upload}`: no client finds the upload of another one."""

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
        self, client_id: str, upload_id: str, *, content_type: str, now: datetime
    ) -> UploadForm:
        """Sign a form; its policy fixes bucket, key, type, and a size of 1 byte to 20 MB.

        It expires after 15 minutes, or with the credentials that sign it. Nothing is called.
        """
        ends = min(filter(None, (now + FORM_TTL, self._credentials_expiry())))
        signed = self._client.generate_presigned_post(
            Bucket=self._bucket,
            Key=_key(client_id, upload_id),
            Fields={"Content-Type": content_type},
            Conditions=[
                {"Content-Type": content_type},
                ["content-length-range", 1, MAX_UPLOAD_BYTES],
            ],
            ExpiresIn=max(int((ends - now).total_seconds()), 1),
        )
        # The policy has whole seconds.
        return UploadForm(signed["url"], signed["fields"], ends.replace(microsecond=0))

    def read(self, client_id: str, upload_id: str, *, now: datetime) -> bytes:
        """Read an upload.

        Raises NotFoundError, also for an upload that is more than a day old, since S3 removes
        objects late; TooLargeError before anything is read; and StorageError.
        """
        with storage_errors("The upload could not be read.", instead=_MISSING):
            reply = self._client.get_object(Bucket=self._bucket, Key=_key(client_id, upload_id))
            with closing(reply["Body"]) as body:
                if reply["LastModified"] + KEEP <= now:
                    raise NotFoundError("The upload has expired.")
                if reply["ContentLength"] > MAX_UPLOAD_BYTES:
                    raise TooLargeError(f"The upload has more than {MAX_UPLOAD_BYTES} bytes.")
                return body.read()


def _key(client_id: str, upload_id: str) -> str:
    return f"{FOLDER}/{client_id}/{upload_id}"
