"""The previews of a job's images, made anew each time from the stored ones."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sd3.domain.image_formats import InvalidImageError
from sd3.domain.job import Job
from sd3.domain.preview import make_preview
from sd3.services.ports import ImageStorage

_logger = logging.getLogger(__name__)

MAX_PREVIEWS: Final = 4
"""The most previews of a job: those of its first images."""


@dataclass(frozen=True, kw_only=True)
class JobPreviews:
    """Makes previews of stored images."""

    images: ImageStorage

    def of(self, job: Job) -> Mapping[int, bytes]:
        """Return WebP files by the index of the image. An image that cannot be read has none."""
        stored = [one for one in job.images if one.key and one.bytes]
        previews = {}
        for index, data in self.images.read_all(stored[:MAX_PREVIEWS]).items():
            try:
                previews[index] = make_preview(data)
            except InvalidImageError as error:
                _logger.warning("no preview", exc_info=error, extra={"job_id": job.id})
        return previews
