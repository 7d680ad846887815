"""Files of the inbox, and the requests that they hold."""

import hashlib
import re
from collections.abc import Collection, Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final, NamedTuple

import pydantic_core

from sd3.domain.client import CLIENT_ID
from sd3.domain.image import check_init_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.record import Record
from sd3.domain.request import GenerateRequest
from sd3.domain.request_checks import INIT_IMAGES
from sd3.errors import FieldError, InvalidRequestError


class InboxObject(NamedTuple):
    """A file in the inbox bucket, as S3's event describes it."""

    bucket: str
    key: str
    etag: str
    sequencer: str
    version_id: str = ""

    @property
    def client_id(self) -> str | None:
        """The client in whose folder the file is; None for a file in no client's folder."""
        folder, slash, _ = self.key.partition("/")
        return folder if slash and CLIENT_ID.fullmatch(folder) else None

    @property
    def job_id(self) -> str:
        """The id of the file's job. An event that comes twice leads to the same job."""
        version = f"{self.bucket}/{self.key}/{self.version_id}/{self.sequencer}"
        return hashlib.sha256(version.encode()).hexdigest()[:32]


class InboxFile(NamedTuple):
    """The bytes of a file, and its metadata by name, as S3 returns them."""

    data: bytes
    metadata: Mapping[str, str]


class InboxRequest(NamedTuple):
    """The request that a file holds, and the names of metadata that are no part of it."""

    request: GenerateRequest
    ignored_metadata: tuple[str, ...] = ()


class InboxOrigin(Record):
    """The file in the inbox that a job was made from, and where its answer is written.

    `sequencer` orders the writes of one key, as S3 says; a larger one is later.
    `ignored_metadata` names the file's metadata that are no part of the request.
    """

    result_key: str
    sequencer: str
    ignored_metadata: tuple[str, ...] = ()

    @property
    def lines_key(self) -> str:
        """Where the results of the lines of a batch are written."""
        return f"{self.result_key}l"


MAX_JSON_BYTES: Final = 6 * 1024 * 1024
"""As for a request over HTTP."""

MAX_IMAGE_BYTES: Final = 20_000_000

MAX_KEY_BYTES: Final = 1024
"""S3's longest key."""

NO_CLIENT: Final = "_"
"""The folder of results for files in no client's folder. No client's id begins with _."""

IMAGE_EXTENSIONS: Final = frozenset(("png", "jpg", "jpeg", "webp", "avif", "heic", "heif"))

BATCH_EXTENSION: Final = "jsonl"

_JSON_FIELDS: Final = frozenset(
    ("cfg_scale", "steps", "num_images", "seed", "width", "height", "strength", "log_prompt",
     "embed_parameters", "metadata", "webhook", "dry_run")
)  # fmt: skip
"""Fields that are not strings. In S3's metadata they are written as JSON."""

_TOOLS_METADATA: Final = frozenset((
    "atime", "btime", "ctime", "mtime", "uid", "gid", "mode", "rdev",  # rclone, mounts, Cyberduck
    "md5chksum",  # rclone
    "xattr",  # s3fs
    "md5", "privilege",  # s4cmd
    "s3cmd-attrs", "mc-attrs", "mm-source-mtime",  # s3cmd, MinIO's mc
    "file-atime", "file-ctime", "file-mtime", "file-owner", "file-group",
    "file-permissions",  # AWS DataSync, FSx and S3 Files, s5cmd
    "user-agent", "user-agent-id",  # AWS FSx, AWS Transfer Family
    "s3b-last-modified", "sha256", "cb-modifiedtime",  # S3 Browser, MSP360
    "un", "gn", "usid", "gsid", "sddl", "rslhash",  # Resilio
    "md5-hash",  # JetS3t
))  # fmt: skip
"""What tools that copy files write beside them. A misspelt field of ours is none of these names,
so it is still an error."""

_TOOLS_PREFIXES: Final = ("goog-reserved-", "jets3t-original-")

_MAIL_CHARSET: Final = re.compile(
    r"us-ascii|utf-?8|iso-8859-\d{1,2}|windows-125[0-8]|koi8-[ru]"
    r"|gb2312|gbk|gb18030|big5|euc-jp|euc-kr|iso-2022-jp|shift_jis"
)
"""Python knows more codecs. Some of them yield no text, or half a character."""


_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")


def extension_of(key: str) -> str:
    """Return how a file's name ends, in lower case."""
    return key.rpartition(".")[2].lower()


def result_key(source: InboxObject) -> str:
    """Name the result file: `{client}/inbox/{name}.json` for `{client}/{name}.{extension}`.

    For a file in no client's folder it is `_/inbox/{name}.json`. Empty parts of a name are left
    out. The job's id replaces a name that would be too long, and one that a request to S3 may not
    keep as it is: with control characters, or with a part `.` or `..`. The results of lines have
    one letter more.
    """
    parts = [part for part in source.key.split("/") if part]
    *folders, name = parts[1:] if source.client_id else parts
    folder = f"{source.client_id or NO_CLIENT}/inbox"
    key = "/".join((folder, *folders, f"{name.rpartition('.')[0] or name}.json"))
    is_odd = {".", ".."} & {*folders} or _CONTROL_CHARACTER.search(key)
    size = len(key.encode()) + (extension_of(source.key) == BATCH_EXTENSION)
    if is_odd or size > MAX_KEY_BYTES:
        return f"{folder}/{source.job_id}.json"
    return key


def request_from(file: InboxFile, *, max_images: int | None = None) -> InboxRequest:
    """Read the request of an image with metadata; its own bytes decide what image it is.

    `max_images` is as for GenerateRequest. Fields are spelled with _ or, like headers, with -.
    Metadata of tools that copy files are passed over. Raises InvalidRequestError.
    """
    metadata = {name.lower(): text for name, text in file.metadata.items()}
    ignored = tuple(sorted(filter(_is_of_a_tool, metadata)))
    request = GenerateRequest.from_values(_values(metadata, ignored), max_images=max_images)
    try:
        image = check_init_image(file.data, max_bytes=MAX_IMAGE_BYTES)
    except InvalidImageError as error:
        raise InvalidRequestError([field_error("init_image", str(error), "picture")]) from error
    return InboxRequest(request.model_copy(update={"init_image": image}), ignored)


def _is_of_a_tool(name: str) -> bool:
    return name in _TOOLS_METADATA or name.startswith(_TOOLS_PREFIXES)


def _values(metadata: Mapping[str, str], ignored: Collection[str]) -> dict[str, object]:
    """Read the fields of metadata, by name, but for the ignored ones."""
    own = {name: text for name, text in metadata.items() if name not in ignored}
    if not all(map(str.isascii, own)):
        msg = "a name in the metadata is not ASCII"
        raise InvalidRequestError([FieldError(("body",), msg, "encoding")])
    texts = {name.replace("-", "_"): text for name, text in own.items()}
    if len(texts) < len(own):
        raise InvalidRequestError([FieldError(("body",), "a field is there twice", "duplicate")])
    if field_errors := [
        field_error(name, "is the file itself", "init_image")
        for name in INIT_IMAGES
        if name in texts
    ]:
        raise InvalidRequestError(field_errors)
    return {name: _value(name, text) for name, text in texts.items()}


def _value(name: str, text: str) -> object:
    text = _decoded(name, text)
    if name not in _JSON_FIELDS:
        return text
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # TypeError: half a character
        return text  # the request's own check says what is wrong


def _decoded(name: str, text: str) -> str:
    """Undo RFC 2047, by which S3 encodes metadata that is not ASCII."""
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(_charset(charset))
            for part, charset in decode_header(text)
        )
    except (HeaderParseError, LookupError, ValueError) as error:
        msg = "is not encoded by RFC 2047 in a charset of mail"
        raise InvalidRequestError([field_error(name, msg, "encoding")]) from error


def _charset(name: str | None) -> str:
    """Return the name of a charset that mail is written in; raises LookupError for others."""
    if name and not _MAIL_CHARSET.fullmatch(name):
        raise LookupError(name)
    return name or "ascii"


def field_error(name: str, msg: str, kind: str) -> FieldError:
    """Make the error of one field of the request."""
    return FieldError(("body", name), msg, kind)
