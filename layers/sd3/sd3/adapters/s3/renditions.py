"""Renditions in S3, beside the images that they were made of and with a lifetime of their own."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.adapters.s3.images import CACHE_CONTROL, RENDITIONS
from sd3.domain.rendition import Rendition, StoredFile
from sd3.errors import GoneError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEEP: Final = timedelta(days=7)
"""How long S3 keeps a rendition at least. The bucket's rule has the same number of days."""

_MISSING: Final = ("403", "404")
"""The codes of HEAD for a missing key. S3 returns the first one where ListBucket is denied."""


class RenditionStore:
    """Renditions under `_renditions/{client}/{job}/{index}.w{width}.{format}`.

    All methods raise StorageError.
    """

    def __init__(self, client: "S3Client", bucket: str, *, url_ttl: timedelta) -> None:
        self._client = client
        self._bucket = bucket
        self._url_ttl = url_ttl

    def find(self, image_key: str, rendition: Rendition, *, now: datetime) -> StoredFile | None:
        """Find a rendition; None also for one that may end before a link that is signed now."""
        key = _key(image_key, rendition)
        with storage_errors("The rendition could not be found.", ignored=_MISSING):
            head = self._client.head_object(Bucket=self._bucket, Key=key)
            if head["LastModified"] + KEEP - self._url_ttl > now:
                return StoredFile(key, head["ContentLength"])
        return None

    def save(self, image_key: str, rendition: Rendition, data: bytes) -> StoredFile:
        """Store a rendition. To store it again is harmless: it is the same.

        Raises GoneError, and stores nothing, for an image that was deleted meanwhile. Whoever
        deletes an image removes its renditions afterwards, and so finds one whose image was still
        there when the rendition was.
        """
        key = _key(image_key, rendition)
        with storage_errors("The rendition could not be stored."):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType=rendition.content_type,
                CacheControl=CACHE_CONTROL,
                ChecksumSHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
            )
            with storage_errors("The image could not be found.", ignored=_MISSING):
                self._client.head_object(Bucket=self._bucket, Key=image_key)
                return StoredFile(key, len(data))
            self._client.delete_object(Bucket=self._bucket, Key=key)
        raise GoneError("The job was deleted.")


def _key(image_key: str, rendition: Rendition) -> str:
    name, _, _ = image_key.rpartition(".")
    kind = rendition.content_type.removeprefix("image/")
    return f"{RENDITIONS}/{name}.w{rendition.width}.{kind}"
