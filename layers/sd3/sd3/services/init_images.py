"""The init image that a request names, as a checked image."""

from dataclasses import dataclass

from sd3.domain.image import MAX_UPLOAD_BYTES, check_init_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, InvalidRequestError, NotFoundError, TooLargeError
from sd3.services.ports import Clock, UploadStorage


@dataclass(frozen=True, kw_only=True)
class InitImages:
    """Reads init images. One that is in the request itself was checked with the request."""

    uploads: UploadStorage
    clock: Clock

    def with_upload(self, request: GenerateRequest, client_id: str) -> GenerateRequest:
        """Return the request with the upload that it names, if any, as its init image.

        Raises InvalidRequestError for an upload that cannot be used, and StorageError.
        """
        upload_id = request.init_image_id
        if upload_id is None:
            return request
        try:
            data = self.uploads.read(client_id, upload_id, now=self.clock.now())
            image = check_init_image(data, max_bytes=MAX_UPLOAD_BYTES)
        except NotFoundError as error:
            # Another client's upload gets the same message, so that no client learns which ids
            # exist.
            raise _error("init_image_id", "not found or expired", error.code) from error
        except (TooLargeError, InvalidImageError) as error:
            raise _error("init_image_id", str(error), "picture") from error
        return request.model_copy(update={"init_image": image})


def _error(field: str, msg: str, kind: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body", field), msg, kind)])
