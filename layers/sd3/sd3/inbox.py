"""The use case of the inbox: a file that was dropped becomes a job, and is answered."""

import codecs
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final

import pydantic_core

from sd3.access import GENERATE, Client, Limits, require
from sd3.admission import Admission, Caller
from sd3.answers import error_answer
from sd3.contract import GenerateRequest
from sd3.errors import (
    Fault,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    UnsupportedMediaTypeError,
)
from sd3.images import PictureError, check_init_image
from sd3.models import InboxOrigin, JobStatus
from sd3.ports import Answers, Clients, File, Files, Upload
from sd3.reports import JobReport

MAX_JSON_BYTES: Final = 6 * 1024 * 1024
"""As over HTTP."""
MAX_PICTURE_BYTES: Final = 20_000_000
MAX_KEY_BYTES: Final = 1024
"""S3's longest key."""

PICTURES: Final = frozenset(("png", "jpg", "jpeg", "webp"))

_JSON_FIELDS: Final = frozenset(
    ("cfg_scale", "steps", "num_images", "seed", "width", "height", "strength", "log_prompt",
     "metadata", "dry_run")
)  # fmt: skip
"""Fields that are no strings: S3's metadata has them as JSON."""


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Makes jobs of files `{client}/{name}.json`, or of a picture with metadata."""

    admission: Admission
    clients: Clients
    files: Files
    answers: Answers

    def receive(self, upload: Upload, *, seconds: float) -> RequestError | None:
        """Queue the job of a file, or answer what is wrong with it, which is returned.

        The answer comes first, so that it never takes the place of what the job came to. Raises
        StorageError; the same upload again is the same job, however far the first one came.
        """
        if upload.key.endswith("/"):
            return None  # how consoles show a folder that is empty
        client_id = upload.key.partition("/")[0]
        origin = InboxOrigin(answer_key=answer_key(upload), sequencer=upload.sequencer)
        try:
            client = self._client(client_id)
            request = self._request(upload, client.limits)
        except RequestError as error:
            return self._refuse(upload, origin, error, first=True)
        if request is None:
            return None
        queued = JobReport(
            id=upload.job_id,
            client_id=client_id,
            status=JobStatus.QUEUED,
            created_at=self.admission.time.now(),
            metadata=request.metadata,
        )
        self.answers.write(origin, queued.model_dump_json(), first=True)
        caller = Caller(
            client_id,
            upload.job_id,
            seconds,
            respond_async=True,
            inbox=origin,
            limits=client.limits,
        )
        try:
            self.admission.admit(request, caller)
        except (GoneError, NotFoundError):
            pass  # it ended and was deleted before this repetition
        except RequestError as error:
            return self._refuse(upload, origin, error, first=False)
        return None

    def _refuse(
        self, upload: Upload, origin: InboxOrigin, error: RequestError, *, first: bool
    ) -> RequestError:
        refusal = error_answer(error, request_id=upload.job_id)
        self.answers.write(origin, refusal.model_dump_json(exclude_none=True), first=first)
        return error

    def _client(self, client_id: str) -> Client:
        client = self.clients.get(client_id)
        if client is None:
            raise NotFoundError("The file's folder has no client's name.")
        require(GENERATE, client.scopes)
        return client

    def _request(self, upload: Upload, limits: Limits) -> GenerateRequest | None:
        request = self._read(upload, limits.max_images)
        if request and request.dry_run:
            raise InvalidRequestError([_fault("dry_run", "is for HTTP only", "dry_run")])
        return request

    def _read(self, upload: Upload, max_images: int | None) -> GenerateRequest | None:
        ending = upload.key.rpartition(".")[2].lower()
        if ending == "json":
            file = self.files.read(upload, max_bytes=MAX_JSON_BYTES)
            return file and GenerateRequest.parse(
                file.data.removeprefix(codecs.BOM_UTF8), max_images=max_images
            )
        if ending in PICTURES:
            file = self.files.read(upload, max_bytes=MAX_PICTURE_BYTES)
            return file and request_from(file, max_images=max_images)
        endings = ", ".join(sorted(("json", *PICTURES)))
        raise UnsupportedMediaTypeError(f"The file's name should end in one of {endings}.")


def answer_key(upload: Upload) -> str:
    """Where a file is answered: `{client}/inbox/{name}.json` for `{client}/{name}.{ending}`.

    A name that has no room for that is answered by its job's id.
    """
    folder, _, name = upload.key.rpartition("/")
    client_id, _, inner = folder.partition("/")
    stem = name.rpartition(".")[0] or name
    key = "/".join(filter(None, (client_id, "inbox", inner, f"{stem}.json")))
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"{client_id}/inbox/{upload.job_id}.json"
    return key


def request_from(file: File, *, max_images: int | None = None) -> GenerateRequest:
    """The request of a picture with metadata: the picture's own bytes say what it is.

    `max_images` is as for GenerateRequest. A field is spelled with _ or, as headers are, with -.
    Raises InvalidRequestError.
    """
    values = {name.lower().replace("-", "_"): text for name, text in file.metadata.items()}
    if len(values) < len(file.metadata):
        raise InvalidRequestError([Fault(("body",), "a field is there twice", "duplicate")])
    if faults := [
        _fault(name, "is the file itself", "init_image")
        for name in ("init_image", "init_image_id")
        if name in values
    ]:
        raise InvalidRequestError(faults)
    request = GenerateRequest.from_values(
        {name: _value(name, text) for name, text in values.items()}, max_images=max_images
    )
    try:
        picture = check_init_image(file.data, max_bytes=MAX_PICTURE_BYTES)
    except PictureError as error:
        raise InvalidRequestError([_fault("init_image", str(error), "picture")]) from error
    return request.model_copy(update={"init_image": picture})


def _value(name: str, text: str) -> object:
    if name not in _JSON_FIELDS:
        return _decoded(name, text)
    try:
        return pydantic_core.from_json(_decoded(name, text), allow_inf_nan=False)
    except ValueError:
        return text  # the contract says what it should be


def _decoded(name: str, text: str) -> str:
    """Undo RFC 2047, in which S3 answers metadata that is not ASCII."""
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii")
            for part, charset in decode_header(text)
        )
    except (HeaderParseError, LookupError, ValueError) as error:
        raise InvalidRequestError(
            [_fault(name, "is not encoded by RFC 2047", "encoding")]
        ) from error


def _fault(name: str, msg: str, kind: str) -> Fault:
    return Fault(("body", name), msg, kind)
