"""Files of the inbox, and the requests that they hold."""

import hashlib
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final, NamedTuple

import pydantic_core

from sd3.domain.image import check_init_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.record import Record
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, InvalidRequestError


class InboxObject(NamedTuple):
    """A file in the inbox bucket, as S3's event describes it."""

    bucket: str
    key: str
    etag: str
    sequencer: str
    version_id: str = ""

    @property
    def job_id(self) -> str:
        """The id of the file's job. An event that comes twice leads to the same job."""
        version = f"{self.bucket}/{self.key}/{self.version_id}/{self.sequencer}"
        return hashlib.sha256(version.encode()).hexdigest()[:32]


class InboxFile(NamedTuple):
    """The bytes of a file, and its metadata by name, as S3 returns them."""

    data: bytes
    metadata: Mapping[str, str]


class InboxOrigin(Record):
    """The file in the inbox that a job was made from, and where its answer is written.

    `sequencer` orders the writes of one key, as S3 says; a larger one is later.
    """

    result_key: str
    sequencer: str


MAX_JSON_BYTES: Final = 6 * 1024 * 1024
"""As for a request over HTTP."""

MAX_IMAGE_BYTES: Final = 20_000_000

MAX_KEY_BYTES: Final = 1024
"""S3's longest key."""

IMAGE_EXTENSIONS: Final = frozenset(("png", "jpg", "jpeg", "webp"))

_JSON_FIELDS: Final = frozenset(
    ("cfg_scale", "steps", "num_images", "seed", "width", "height", "strength", "log_prompt",
     "metadata", "dry_run")
)  # fmt: skip
"""Fields that are not strings. In S3's metadata they are written as JSON."""


def result_key(source: InboxObject) -> str:
    """Name the result file: `{client}/inbox/{name}.json` for `{client}/{name}.{extension}`.

    A key that would be too long is replaced by the job's id.
    """
    folder, _, name = source.key.rpartition("/")
    client_id, _, inner = folder.partition("/")
    stem = name.rpartition(".")[0] or name
    key = "/".join(filter(None, (client_id, "inbox", inner, f"{stem}.json")))
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"{client_id}/inbox/{source.job_id}.json"
    return key


def request_from(file: InboxFile, *, max_images: int | None = None) -> GenerateRequest:
    """Read the request of an image with metadata; its own bytes decide what image it is.

    `max_images` is as for GenerateRequest. Fields are spelled with _ or, like headers, with -.
    Raises InvalidRequestError.
    """
    values = {name.lower().replace("-", "_"): text for name, text in file.metadata.items()}
    if len(values) < len(file.metadata):
        raise InvalidRequestError([FieldError(("body",), "a field is there twice", "duplicate")])
    if field_errors := [
        field_error(name, "is the file itself", "init_image")
        for name in ("init_image", "init_image_id")
        if name in values
    ]:
        raise InvalidRequestError(field_errors)
    request = GenerateRequest.from_values(
        {name: _value(name, text) for name, text in values.items()}, max_images=max_images
    )
    try:
        image = check_init_image(file.data, max_bytes=MAX_IMAGE_BYTES)
    except InvalidImageError as error:
        raise InvalidRequestError([field_error("init_image", str(error), "picture")]) from error
    return request.model_copy(update={"init_image": image})


def _value(name: str, text: str) -> object:
    if name not in _JSON_FIELDS:
        return _decoded(name, text)
    try:
        return pydantic_core.from_json(_decoded(name, text), allow_inf_nan=False)
    except ValueError:
        return text  # the request's own check says what is wrong


def _decoded(name: str, text: str) -> str:
    """Undo RFC 2047, by which S3 encodes metadata that is not ASCII."""
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii")
            for part, charset in decode_header(text)
        )
    except (HeaderParseError, LookupError, ValueError) as error:
        raise InvalidRequestError(
            [field_error(name, "is not encoded by RFC 2047", "encoding")]
        ) from error


def field_error(name: str, msg: str, kind: str) -> FieldError:
    """Make the error of one field of the request."""
    return FieldError(("body", name), msg, kind)
