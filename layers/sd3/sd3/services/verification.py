"""The use case of a verification: whether an image says that it is AI-made, and whether by us."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sd3.domain.image_formats import InvalidImageError
from sd3.domain.verification import verify
from sd3.errors import FieldError, InvalidRequestError
from sd3.responses.models import VerifyResponse


@dataclass(frozen=True, kw_only=True)
class ImageVerification:
    """Verifies images by their bytes and the master secrets alone: no job has to be stored."""

    secrets: Callable[[], Sequence[bytes]]

    def verify(self, data: bytes, *, client_id: str) -> VerifyResponse:
        """Say what an image says of its origin. The job is named to its own client only.

        Raises InvalidRequestError for what is no image, and StorageError.
        """
        try:
            found = verify(data, self.secrets)
        except InvalidImageError as error:
            field_error = FieldError(("body", "image"), str(error), "picture")
            raise InvalidRequestError([field_error]) from error
        mark = found.mark
        return VerifyResponse(
            marked=found.is_marked,
            digital_source_type=found.source_type,
            c2pa=found.has_c2pa,
            ours=mark is not None,
            bytes=found.bytes,
            job_id=mark.job if mark and mark.is_of(client_id, self.secrets()) else None,
            index=int(mark.index) if mark else None,
            seed=int(mark.seed) if mark else None,
        )
