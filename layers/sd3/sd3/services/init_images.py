"""The init image that a request names, as a checked image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sd3.domain.billing import Quote
from sd3.domain.client import RequestContext
from sd3.domain.client_url import UrlError
from sd3.domain.image import MAX_UPLOAD_BYTES, check_init_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, InvalidRequestError, NotFoundError, TooLargeError
from sd3.services.budget_check import check_budget
from sd3.services.ports import ClientCounts, Clock, ImageSource, UploadStorage, UsageRepository

FETCH_SECONDS: Final = 10.0
"""The time to fetch an image, from looking its server up to its last byte."""


@dataclass(frozen=True, kw_only=True)
class InitImages:
    """Reads init images. One that is in the request itself was checked with the request."""

    uploads: UploadStorage
    source: Callable[[], ImageSource]
    """Builds the source, which few requests need."""
    counts: ClientCounts
    usage: UsageRepository
    clock: Clock

    def read(self, request: GenerateRequest, client_id: str) -> GenerateRequest:
        """Return the request with the upload that it names, if any, as its init image.

        What a URL leads to is left to `fetch`: here its form is checked. Raises
        InvalidRequestError for an upload or a URL that cannot be used, and StorageError.
        """
        upload_id = request.init_image_id
        try:
            if request.init_image_url:
                self.source().check(request.init_image_url)
            if upload_id is None:
                return request
            data = self.uploads.read(client_id, upload_id, now=self.clock.now())
            image = check_init_image(data, max_bytes=MAX_UPLOAD_BYTES)
        except NotFoundError as error:
            # Another client's upload gets the same message, so that no client learns which ids
            # exist.
            raise _error("init_image_id", "not found or expired", error.code) from error
        except (TooLargeError, InvalidImageError) as error:
            raise _error("init_image_id", str(error), "picture") from error
        except UrlError as error:
            raise _error("init_image_url", str(error), "url") from None
        return request.model_copy(update={"init_image": image})

    def fetch(
        self, request: GenerateRequest, context: RequestContext, quote: Quote
    ) -> GenerateRequest:
        """Return the request with the image at the URL that it names, if any, as its init image.

        It is fetched once, for a client that may still spend the quote. It counts as an upload, so
        that no client has us fetch without end. Whatever goes wrong at its server is an error of
        the request: a 5xx of ours would be somebody else's to cause. Raises BudgetExceededError,
        RateLimitedError, InvalidRequestError and StorageError.
        """
        url = request.init_image_url
        if url is None:
            return request
        client_id, limits, now = context.client_id, context.limits, self.clock.now()
        check_budget(self.usage, quote, client_id=client_id, limits=limits, now=now)
        self.counts.count_upload(client_id, limits, now=now)
        seconds = min(FETCH_SECONDS, context.seconds)
        try:
            data = self.source().fetch(url, max_bytes=MAX_UPLOAD_BYTES, seconds=seconds)
            image = check_init_image(data, max_bytes=MAX_UPLOAD_BYTES)
        except UrlError as error:
            raise _error("init_image_url", str(error), "url") from None  # it could quote the URL
        except InvalidImageError as error:
            raise _error("init_image_url", str(error), "picture") from error
        return request.model_copy(update={"init_image": image})


def _error(field: str, msg: str, kind: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body", field), msg, kind)])
