"""The images bucket: it stores and reads images in parallel, and signs links to them."""

import base64
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sd3.adapters.aws import storage_errors
from sd3.domain.generation import GeneratedImage, SavedImages
from sd3.domain.image import EXTENSIONS, Image, Link, extension, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.job import ImageRecord
from sd3.errors import FieldError, InvalidRequestError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_logger = logging.getLogger(__name__)


def _no_init_image(_error: Exception) -> InvalidRequestError:
    field_error = FieldError(("body", "init_image"), "is no longer stored", "picture")
    return InvalidRequestError([field_error], message="The init image is no longer stored.")


RENDITIONS: Final = "_renditions"
"""The folder of renditions. No client's id begins with _, so they have a lifetime of their own."""

CACHE_CONTROL: Final = "private, max-age=86400, immutable"
"""What S3 says of an image with each answer. An image never changes. It is kept in no shared cache,
and for a day at most: no image is stored for less than that, and one that is deleted is soon gone
from its client's own cache too."""

_NO_INIT_IMAGE: Final = dict.fromkeys(("AccessDenied", "NoSuchKey"), _no_init_image)
"""The error codes of a missing key. S3 returns the first one where ListBucket is denied."""


class ImageStore:
    """Images in S3 under `{client}/{job}/{index}.{ext}`. Storing an image again is harmless."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        *,
        url_ttl: timedelta,
        credentials_expiry: Callable[[], datetime | None],
        parallel: int,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._url_ttl = url_ttl
        self._credentials_expiry = credentials_expiry
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="images")

    def save_init_image(self, folder: str, image: Image) -> str:
        """Store a job's init image; return its key. Raises StorageError."""
        key = f"{folder}/init.{extension(image.content_type)}"
        self._put(key, image)
        return key

    def get_init_image(self, key: str) -> Image:
        """Read a job's init image. Raises StorageError.

        Raises InvalidRequestError for one that is no longer there or can never be read.
        """
        with storage_errors("The init image could not be read.", instead=_NO_INIT_IMAGE):
            data = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        try:
            return read_image(data)
        except InvalidImageError as error:
            raise _no_init_image(error) from error

    def read_all(self, records: Sequence[ImageRecord]) -> Mapping[int, bytes]:
        """Read stored images in parallel; return the bytes of each by its index.

        An image that cannot be read, or is not the one that was stored, is left out.
        """
        found = zip(records, self._pool.map(self._read, records), strict=True)
        return {record.index: data for record, data in found if data is not None}

    def delete_all(self, folder: str, *, count: int) -> None:
        """Remove every object that a job of `count` images can have. Raises StorageError.

        The keys are known, so no listing is needed. A key without an object is no error.
        """
        names = ("init", *map(str, range(count)))
        self._delete(f"{folder}/{name}.{ext}" for name in names for ext in EXTENSIONS.values())

    def delete_renditions(self, folder: str) -> None:
        """Remove the renditions of a job's images, after these. Raises StorageError.

        A rendition that is stored later finds that its image is gone. One page of the list has
        room for all that a job can have: three formats of eight widths, of 16 images.
        """
        with storage_errors("The renditions could not be listed."):
            listed = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=f"{RENDITIONS}/{folder}/"
            )
        if found := listed.get("Contents"):
            self._delete(each["Key"] for each in found)

    def save_all(
        self,
        folder: str,
        generated: Sequence[GeneratedImage],
        finish: Callable[[int, GeneratedImage], GeneratedImage],
    ) -> SavedImages:
        """Store what `finish` makes of the images of a job, in parallel and in order.

        If an image cannot be stored, its record has no key and the others are still stored.
        Raises StorageError when no image could be stored.
        """

        def save(index: int, one: GeneratedImage) -> tuple[ImageRecord, GeneratedImage]:
            finished = finish(index, one)
            return self._save(folder, index, finished), finished

        saved = tuple(self._pool.map(save, range(len(generated)), generated))
        records = tuple(record for record, _ in saved)
        has_images = any(one.image for one in generated)
        if has_images and not any(record.key for record in records):
            raise StorageError("The images could not be stored.")
        return SavedImages(records, tuple(finished for _, finished in saved))

    def copy_all(self, folder: str, records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        """Copy stored images to a job's folder, in parallel; return their records there.

        S3 copies them, with all that they have been stored with. Raises StorageError if one of them
        cannot be copied. Then no other copy is under way, which would come over a later image.
        """
        copies = [self._pool.submit(self._copy, folder, record) for record in records]
        wait(copies)
        return tuple(copy.result() for copy in copies)

    def sign(
        self, key: str, *, until: datetime, now: datetime, disposition: str | None = None
    ) -> Link:
        """Sign a link to `key`. It ends with its TTL, at `until`, or with the signing credentials.

        S3 answers to it with `disposition` as the header Content-Disposition, if there is one.
        Lambda does not say when the credentials of its functions end. So a link may end earlier
        than its `expires_at`, and never later.
        """
        ends = min(filter(None, (now + self._url_ttl, until, self._credentials_expiry())))
        headers = {"ResponseContentDisposition": disposition} if disposition else {}
        url = self._client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": key, **headers},
            ExpiresIn=max(int((ends - now).total_seconds()), 1),
        )
        return Link(url, ends)

    def origin(self) -> str:
        """Return the scheme and host of links. Signing one makes no call."""
        params = {"Bucket": self._bucket, "Key": "image"}
        link = urlsplit(self._client.generate_presigned_url("get_object", Params=params))
        return f"{link.scheme}://{link.netloc}"

    def _save(self, folder: str, index: int, generated: GeneratedImage) -> ImageRecord:
        image = generated.image
        record = ImageRecord(
            index=index,
            seed=generated.seed,
            upstream=generated.upstream,
            model=generated.model,
            removed_for_safety=image is None and generated.error is None,
            safety_score=generated.safety_score,
            error=generated.error,
        )
        if image is None:
            return record
        key = f"{folder}/{index}.{extension(image.content_type)}"
        try:
            digest = self._put(key, image)
        except StorageError as error:
            _logger.warning("image not stored", exc_info=error, extra={"key": key})
            return record
        return record.model_copy(
            update={
                "key": key,
                "content_type": image.content_type,
                "width": image.width,
                "height": image.height,
                "bytes": len(image.data),
                "sha256": digest.hex(),
                "provenance": generated.provenance,
                "c2pa": generated.c2pa,
                "thumbhash": generated.thumbhash,
            }
        )

    def _delete(self, keys: Iterable[str]) -> None:
        objects: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in keys]
        with storage_errors("The images could not be removed."):
            reply = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
        if reply.get("Errors"):
            raise StorageError("Some images could not be removed.")

    def _copy(self, folder: str, record: ImageRecord) -> ImageRecord:
        if record.key is None:
            return record
        key = f"{folder}/{record.key.rpartition('/')[2]}"
        with storage_errors("An image could not be copied."):
            self._client.copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource={"Bucket": self._bucket, "Key": record.key},
                TaggingDirective="REPLACE",  # else its tags would have to be read
            )
        return record.model_copy(update={"key": key})

    def _read(self, record: ImageRecord) -> bytes | None:
        """Read one image, of which the record has the size: no more than that is kept in memory."""
        key, size = record.key, record.bytes
        if key is None or size is None:
            return None
        try:
            with storage_errors("An image could not be read."):
                reply = self._client.get_object(Bucket=self._bucket, Key=key)
                with reply["Body"] as body:
                    data: bytes = body.read(size)
        except StorageError as error:
            _logger.warning("image not read", exc_info=error, extra={"key": key})
            return None
        if hashlib.sha256(data).hexdigest() == record.sha256:
            return data
        _logger.warning("image changed in the bucket", extra={"key": key})
        return None

    def _put(self, key: str, image: Image) -> bytes:
        digest = hashlib.sha256(image.data).digest()
        with storage_errors("An image could not be stored."):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=image.data,
                ContentType=image.content_type,
                CacheControl=CACHE_CONTROL,
                # S3 checks the body against it, and botocore need not hash the body again.
                ChecksumSHA256=base64.b64encode(digest).decode(),
            )
        return digest
