"""The files of batches in the images bucket: their lines, and their results."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.adapters.s3.lines import LINES_TYPE, lines_from
from sd3.adapters.s3.uploads import KEEP, upload_key
from sd3.domain.request import MAX_BATCH_BYTES
from sd3.errors import NotFoundError, TooLargeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK: Final = 1024 * 1024
_FAILED: Final = "A file of a batch could not be used."
_MISSING: Final = dict.fromkeys(
    ("AccessDenied", "NoSuchKey", "PreconditionFailed"),
    lambda _: NotFoundError("There is no such file."),
)
"""The error codes of a missing key, of which S3 returns the first where ListBucket is denied, and
of a file that was replaced."""


class BatchFiles:
    """Files in one bucket. Every method raises StorageError."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def put(self, key: str, data: bytes) -> None:
        """Store the lines of a batch."""
        with storage_errors(_FAILED):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=LINES_TYPE)

    def copy_upload(self, client_id: str, upload_id: str, key: str, *, now: datetime) -> None:
        """Copy a client's upload, which it could still replace.

        Raises NotFoundError for a missing upload and one that is more than a day old, and
        TooLargeError.
        """
        source = upload_key(client_id, upload_id)
        with storage_errors(_FAILED, instead=_MISSING):
            found = self._client.get_object(Bucket=self._bucket, Key=source)
            found["Body"].close()
        if found["LastModified"] + KEEP <= now:
            raise NotFoundError("The upload has expired.")
        if found["ContentLength"] > MAX_BATCH_BYTES:
            raise TooLargeError(f"The upload has more than {MAX_BATCH_BYTES} bytes.")
        self.copy(self._bucket, source, found["ETag"], key)

    def copy(self, bucket: str, source: str, etag: str, key: str) -> None:
        """Copy the lines of a batch. Raises NotFoundError for a file that is gone or replaced."""
        with storage_errors(_FAILED, instead=_MISSING):
            self._client.copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource={"Bucket": bucket, "Key": source},
                CopySourceIfMatch=etag,
                ContentType=LINES_TYPE,
                MetadataDirective="REPLACE",
                TaggingDirective="REPLACE",  # else its tags would have to be read
            )

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read the lines of a batch in parts. Raises NotFoundError."""
        with storage_errors(_FAILED, instead=_MISSING):
            reply = self._client.get_object(Bucket=self._bucket, Key=key)
            with closing(reply["Body"]) as body:
                yield from body.iter_chunks(_CHUNK)

    def read(self, key: str, *, offset: int, length: int) -> bytes:
        """Read some of the lines of a batch. Raises NotFoundError."""
        with storage_errors(_FAILED, instead=_MISSING):
            reply = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}"
            )
            return reply["Body"].read()

    def put_results(self, key: str, file: IO[bytes]) -> None:
        """Store the results of a batch, from the beginning of a file."""
        with storage_errors(_FAILED):
            self._client.put_object(Bucket=self._bucket, Key=key, **lines_from(file))
