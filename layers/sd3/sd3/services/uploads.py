"""The use case of uploads: a form by which a client sends one large file to S3."""

from dataclasses import dataclass
from secrets import token_hex

from sd3.domain.client import ClientLimits
from sd3.domain.image import MAX_UPLOAD_BYTES
from sd3.domain.request import MAX_BATCH_BYTES, UploadRequest
from sd3.responses.models import UploadResponse
from sd3.services.ports import ClientCounts, Clock, UploadStorage


@dataclass(frozen=True, kw_only=True)
class UploadForms:
    """Creates forms. They are counted, since what is sent by them is kept for a day."""

    uploads: UploadStorage
    counts: ClientCounts
    clock: Clock

    def create(
        self, request: UploadRequest, *, client_id: str, limits: ClientLimits
    ) -> UploadResponse:
        """Create a form, for an init image or for the lines of a batch. Nothing is stored yet.

        Raises RateLimitedError for one form too many in this minute, and StorageError.
        """
        upload_id, now = token_hex(16), self.clock.now()
        self.counts.count_upload(client_id, limits, now=now)
        most = MAX_UPLOAD_BYTES if request.is_image else MAX_BATCH_BYTES
        form = self.uploads.form(
            client_id, upload_id, content_type=request.content_type, max_bytes=most, now=now
        )
        return UploadResponse(id=upload_id, **form._asdict(), max_bytes=most)
