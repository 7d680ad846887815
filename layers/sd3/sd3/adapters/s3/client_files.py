"""All that the buckets hold of one client. Only operators read and erase it, and no function."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from sd3.adapters.aws import storage_errors
from sd3.adapters.s3.images import RENDITIONS
from sd3.adapters.s3.uploads import FOLDER as UPLOADS
from sd3.errors import StorageError

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_KEYS_IN_A_CALL: Final = 1000
_CHUNK: Final = 1024 * 1024


class Folder(NamedTuple):
    """A part of a bucket that is one client's alone, and what people call it."""

    name: str
    bucket: str
    prefix: str


class File(NamedTuple):
    """An object in a folder."""

    key: str
    size: int
    modified: datetime


class OpenFile(NamedTuple):
    """The metadata of an object, and its bytes in parts that are read when they are asked for."""

    metadata: dict[str, str]
    chunks: Iterator[bytes]


class ClientFiles:
    """The objects of a client. Every method raises StorageError."""

    def __init__(
        self, client: "S3Client", client_id: str, *, images_bucket: str, inbox_bucket: str
    ) -> None:
        self._client = client
        self.folders = (
            Folder("images", images_bucket, f"{client_id}/"),
            # After images: no rendition is stored whose image is gone.
            Folder("renditions", images_bucket, f"{RENDITIONS}/{client_id}/"),
            Folder("uploads", images_bucket, f"{UPLOADS}/{client_id}/"),
            Folder("inbox", inbox_bucket, f"{client_id}/"),
        )

    def files(self, folder: Folder) -> Iterator[File]:
        """List the objects of a folder."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=folder.bucket, Prefix=folder.prefix
        )
        with storage_errors("A bucket could not be listed."):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield File(found["Key"], found["Size"], found["LastModified"])

    def open(self, folder: Folder, file: File) -> OpenFile | None:
        """Open an object; None if it was removed since it was listed."""
        with storage_errors("An object could not be read.", ignored=("NoSuchKey",)):
            reply = self._client.get_object(Bucket=folder.bucket, Key=file.key)
            return OpenFile(reply["Metadata"], _chunks(reply["Body"]))
        return None

    def remove(self, folder: Folder) -> int:
        """Remove all objects of a folder, and return their number."""
        count, files = 0, self.files(folder)
        while batch := list(islice(files, _KEYS_IN_A_CALL)):
            keys: Sequence[ObjectIdentifierTypeDef] = [{"Key": file.key} for file in batch]
            with storage_errors("Objects could not be removed."):
                reply = self._client.delete_objects(
                    Bucket=folder.bucket, Delete={"Objects": keys, "Quiet": True}
                )
            if reply.get("Errors"):
                raise StorageError("Some objects could not be removed.")
            count += len(batch)
        return count


def _chunks(body: "StreamingBody") -> Iterator[bytes]:
    with closing(body), storage_errors("An object could not be read."):
        yield from body.iter_chunks(_CHUNK)
