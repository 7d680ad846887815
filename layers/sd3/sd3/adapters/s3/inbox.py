"""The inbox in S3: the files that clients put there, and their results in the images bucket."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from sd3.adapters.aws import storage_errors
from sd3.adapters.s3.lines import LINES_TYPE, lines_from
from sd3.domain.inbox import InboxFile, InboxObject, InboxOrigin
from sd3.errors import (
    FieldError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    StorageError,
    TooLargeError,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_TRIES: Final = 5


def _unreadable(why: str) -> Callable[[ClientError], RequestError]:
    """Return what makes the error of a file that can never be read, and says why."""
    field_error = FieldError(("body",), why, "unreadable")
    message = f"The file cannot be read: {why}."
    return lambda _: InvalidRequestError([field_error], message=message)


_KEY: Final = _unreadable("the KMS key that it is encrypted with cannot be used")
_NAME: Final = _unreadable("S3 takes no request for its name. A name has no parts . and ..")

_FINAL: Final[Mapping[str, Callable[[ClientError], RequestError]]] = {
    "NoSuchKey": lambda _: NotFoundError("The file was removed before it was read."),
    "InvalidObjectState": _unreadable("its storage class is an archive. Put it in another class"),
    "AccessDenied": _unreadable("the service may not read it, or not use its KMS key"),
    "InvalidRequest": _unreadable("it is encrypted with a key of its sender's own (SSE-C)"),
    "KMS.AccessDeniedException": _KEY,
    "KMS.DisabledException": _KEY,
    "KMS.InvalidKeyUsageException": _KEY,
    "KMS.KMSInvalidStateException": _KEY,
    "KMS.NotFoundException": _KEY,
    "InvalidURI": _NAME,
    "400": _NAME,
}
"""What S3 says of a file that it will never give out, whatever the number of tries. A 400 without
a code is S3's answer to a key with a part `..`; upload forms can make such a key."""

_MISSING: Final = frozenset(("403", "404"))
"""The error codes of a HEAD request for a missing key. S3 responds 403 where ListBucket is denied.
If the 403 has another cause, the following put fails as well."""

_CHANGED: Final = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"))


class InboxFileStore:
    """The files in the inbox."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def read(self, upload: InboxObject, *, max_bytes: int) -> InboxFile | None:
        """Read a file. Return None if it was replaced, since the new file has its own event.

        Raises TooLargeError before it reads the body, NotFoundError for a removed file,
        InvalidRequestError for one that can never be read, and StorageError.
        """
        with _reading():
            reply = self._open(upload, max_bytes)
            return InboxFile(reply["Body"].read(), reply["Metadata"])
        return None

    def copy(self, upload: InboxObject, bucket: str, key: str, *, max_bytes: int) -> bool:
        """Copy a file, which is not read; return False if it was replaced. Raises as `read`."""
        with _reading():
            self._open(upload, max_bytes)["Body"].close()
            self._client.copy_object(
                Bucket=bucket,
                Key=key,
                CopySource={"Bucket": upload.bucket, "Key": upload.key},
                CopySourceIfMatch=f'"{upload.etag}"',
                ContentType=LINES_TYPE,
                MetadataDirective="REPLACE",
                TaggingDirective="REPLACE",  # else its tags would have to be read
            )
            return True
        return False

    def _open(self, upload: InboxObject, max_bytes: int) -> "GetObjectOutputTypeDef":
        reply = self._client.get_object(
            Bucket=upload.bucket, Key=upload.key, IfMatch=f'"{upload.etag}"'
        )
        if reply["ContentLength"] > max_bytes:
            reply["Body"].close()
            raise TooLargeError(f"The file is larger than {max_bytes} bytes.")
        return reply


def _reading() -> AbstractContextManager[None]:
    """Translate the errors of a file's read, and pass over that of a file that was replaced."""
    return storage_errors(
        "The file could not be read.", ignored=("PreconditionFailed",), instead=_FINAL
    )


class _Result(NamedTuple):
    etag: str
    sequencer: str


class InboxResultStore:
    """Writes result files, each with the sequencer of its upload as metadata.

    Events can arrive twice and out of order, and jobs end in any order. So a write compares its
    sequencer with that of the stored result, on condition that this result does not change.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool:
        """Write a result in JSON; return False if a later upload already has one.

        The `first` result of an upload does not replace another result of the same upload. Raises
        StorageError.
        """
        written = {"Body": body.encode(), "ContentType": "application/json"}
        return self._write(origin.result_key, origin.sequencer, lambda: written, first=first)

    def write_lines(self, origin: InboxOrigin, file: IO[bytes]) -> bool:
        """Write the results of a batch, from the beginning of a file; otherwise as `write`."""
        return self._write(
            origin.lines_key, origin.sequencer, lambda: lines_from(file), first=False
        )

    def _write(
        self, key: str, sequencer: str, content: Callable[[], Mapping[str, Any]], *, first: bool
    ) -> bool:
        for _ in range(_TRIES):
            present = self._head(key)
            if present and not _may_follow(present.sequencer, sequencer, first=first):
                return False
            if self._put(key, sequencer, content(), present):
                return True
        raise StorageError("The result could not be written: it changes too fast.")

    def _head(self, key: str) -> _Result | None:
        with storage_errors("The result could not be read.", ignored=_MISSING):
            reply = self._client.head_object(Bucket=self._bucket, Key=key)
            return _Result(reply["ETag"], reply["Metadata"].get("sequencer", ""))
        return None

    def _put(
        self, key: str, sequencer: str, content: Mapping[str, Any], present: _Result | None
    ) -> bool:
        condition: Any = {"IfMatch": present.etag} if present else {"IfNoneMatch": "*"}
        with storage_errors("The result could not be written.", ignored=_CHANGED):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Metadata={"sequencer": sequencer},
                **content,
                **condition,
            )
            return True
        return False


def _may_follow(present: str, new: str, *, first: bool) -> bool:
    """Compare two sequencers, by which S3 orders the uploads of one key.

    They are hexadecimal. The shorter one is padded with zeros at its end.
    """
    digits = max(len(present), len(new))
    before, after = (text.upper().ljust(digits, "0") for text in (present, new))
    return after > before or (after == before and not first)
