"""The inbox in S3: files that are dropped, and the answers to them in the images bucket."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sd3.adapters.aws import storage_errors
from sd3.domain.inbox import InboxFile, InboxObject
from sd3.domain.job import InboxOrigin
from sd3.errors import NotFoundError, StorageError, TooLargeError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TRIES: Final = 5

_REMOVED: Final = {
    "NoSuchKey": lambda _: NotFoundError("The file was removed before it was read."),
}

_MISSING: Final = frozenset(("403", "404"))
"""The codes of a HEAD of a missing key; S3 answers 403 where ListBucket is denied. If 403 means
something else, the put that follows fails as well."""

_CHANGED: Final = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"))


class InboxFileStore:
    """Files that were put into the inbox."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def read(self, upload: InboxObject, *, max_bytes: int) -> InboxFile | None:
        """Read a file; None when another one has taken its place, which S3 tells of as well.

        Raises TooLargeError before anything is read, NotFoundError for a file that was removed,
        and StorageError.
        """
        with storage_errors(
            "The file could not be read.", ignored=("PreconditionFailed",), instead=_REMOVED
        ):
            reply = self._client.get_object(
                Bucket=upload.bucket, Key=upload.key, IfMatch=f'"{upload.etag}"'
            )
            if reply["ContentLength"] > max_bytes:
                reply["Body"].close()
                raise TooLargeError(f"The file is larger than {max_bytes} bytes.")
            return InboxFile(reply["Body"].read(), reply["Metadata"])
        return None


class _Held(NamedTuple):
    etag: str
    sequencer: str


class InboxResultStore:
    """Answer files, each with the sequencer of the upload that it answers as metadata.

    Events come twice and out of order, and jobs end in any order: an answer is written on the
    condition that the one it was held against is still there.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool:
        """Write an answer, JSON; False when there is one to a later upload.

        The `first` answer to an upload does not replace any other to the same one. Raises
        StorageError.
        """
        for _ in range(_TRIES):
            held = self._held(origin.result_key)
            if held and not _may_follow(held.sequencer, origin.sequencer, first=first):
                return False
            if self._put(origin, body, held):
                return True
        raise StorageError("The answer could not be written: it changes too fast.")

    def _held(self, key: str) -> _Held | None:
        with storage_errors("The answer could not be read.", ignored=_MISSING):
            reply = self._client.head_object(Bucket=self._bucket, Key=key)
            return _Held(reply["ETag"], reply["Metadata"].get("sequencer", ""))
        return None

    def _put(self, origin: InboxOrigin, body: str, held: _Held | None) -> bool:
        condition: Any = {"IfMatch": held.etag} if held else {"IfNoneMatch": "*"}
        with storage_errors("The answer could not be written.", ignored=_CHANGED):
            self._client.put_object(
                Bucket=self._bucket,
                Key=origin.result_key,
                Body=body.encode(),
                ContentType="application/json",
                Metadata={"sequencer": origin.sequencer},
                **condition,
            )
            return True
        return False


def _may_follow(held: str, new: str, *, first: bool) -> bool:
    """Whether `new` comes after `held`: hexadecimal, the shorter one filled with zeros at its end.

    S3 promises that order for the uploads of one key.
    """
    digits = max(len(held), len(new))
    old, now = (text.upper().ljust(digits, "0") for text in (held, new))
    return now > old or (now == old and not first)
