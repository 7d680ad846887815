"""What a request may have, and what the service returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, TypeVar

from sd3_client.errors import error_of

Json = Mapping[str, Any]


class Options(TypedDict, total=False):
    """The optional fields of a request, which docs/api.md explains, and how to send it."""

    idempotency_key: str  # of your own: the same key and fields give the same job
    queue: bool  # do not wait for the images, however short the work is
    negative_prompt: str | None
    cfg_scale: float
    steps: int
    num_images: int
    seed: int | list[int | None] | None
    width: int
    height: int
    image_encoding: Literal["jpeg", "png"]
    init_image: bytes | Path | str  # an image, a file, or base64
    init_image_id: str
    init_image_url: str
    init_image_fit: Literal["cover", "contain", "stretch"]
    strength: float
    log_prompt: bool
    response_format: Literal["url", "b64_json"]
    embed_parameters: bool | None
    placeholder: Literal["thumbhash"] | None
    webhook: Json | None
    metadata: dict[str, str]


@dataclass(frozen=True)
class Image:
    """An image of a job. `raw` has all that the service has said of it."""

    index: int
    seed: int
    url: str | None = field(default=None, repr=False)
    width: int | None = None
    height: int | None = None
    content_type: str | None = None
    sha256: str | None = None
    removed_for_safety: bool = False
    thumbhash: str | None = None
    error: Json | None = None
    raw: Json = field(default_factory=dict, repr=False)
    fetch: Callable[[int, Json], bytes] = field(default=lambda *_: b"", repr=False, compare=False)

    def download(self, **rendition: str | int) -> bytes:
        """Fetch the image as it was generated, or such as `width=256, format="webp"`."""
        return self.fetch(self.index, rendition)


@dataclass(frozen=True)
class Job:
    """A job. `raw` has all that the service has said of it."""

    id: str
    status: str
    images: tuple[Image, ...] = ()
    created_at: str = ""
    completed_at: str | None = None
    expires_at: str = ""
    cost_usd: float = 0
    metadata: Json = field(default_factory=dict)
    error: Json | None = None
    queue_position: int | None = None
    eta_seconds: float | None = None
    progress: Json | None = None
    raw: Json = field(default_factory=dict, repr=False)
    unit: ClassVar[str] = "images"

    @property
    def has_ended(self) -> bool:
        """Tell whether the job will not change any more."""
        return self.status in {"succeeded", "failed", "canceled"}

    def raise_for_error(self) -> Job:
        """Return the job, unless it has failed or was canceled."""
        if self.status not in {"failed", "canceled"}:
            return self
        error = self.error or {"code": self.status, "message": f"The job was {self.status}."}
        raise error_of({**error, "job_id": self.id})


@dataclass(frozen=True)
class Batch:
    """A batch. `raw` has all that the service has said of it."""

    id: str
    status: str
    request_counts: Mapping[str, int] = field(default_factory=dict)
    created_at: str = ""
    completed_at: str | None = None
    expires_at: str = ""
    cost_usd: float = 0
    metadata: Json = field(default_factory=dict)
    error: Json | None = None
    raw: Json = field(default_factory=dict, repr=False)
    unit: ClassVar[str] = "lines"
    queue_position: ClassVar[None] = None
    eta_seconds: ClassVar[None] = None

    @property
    def has_ended(self) -> bool:
        """Tell whether the batch will not change any more."""
        return self.status in {"completed", "failed", "canceled"}

    @property
    def progress(self) -> Json | None:
        """Return how many of the lines have ended, once they are counted."""
        counts = self.request_counts
        done = counts.get("completed", 0) + counts.get("failed", 0)
        return {"done": done, "of": counts["total"]} if counts.get("total") else None


_Model = TypeVar("_Model", Image, Job, Batch)


def known(model: type[_Model], body: Json, **more: Any) -> _Model:
    """Read the fields that the model has: a later service may send others."""
    names = {each.name for each in fields(model)} & body.keys()
    return model(**{**{name: body[name] for name in names}, "raw": body, **more})
