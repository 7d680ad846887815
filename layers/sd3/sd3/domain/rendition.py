"""Renditions: a stored image again, in a width and a file format that a client can use."""

from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from sd3.domain.file_name import MAX_NAME, check_name
from sd3.domain.image import Image, open_image
from sd3.domain.job import ImageRecord
from sd3.errors import FieldError, InvalidRequestError

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

WIDTHS: Final = (64, 128, 256, 384, 512, 768, 1024)
"""The widths that there are. Of any other, a client could have ever more renditions made."""

FORMATS: Final = {"jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "image/jpeg": {"format": "JPEG", "quality": 80, "progressive": True},
    "image/webp": {"format": "WEBP", "quality": 80, "method": 4},
    # The default speed of 6 takes three to five times as long, and more threads help one image.
    "image/avif": {"format": "AVIF", "quality": 60, "speed": 8, "max_threads": 1},
}

_WITH_ALPHA: Final = frozenset(("image/webp", "image/avif"))


class Rendition(NamedTuple):
    """The type of a rendition and its size in pixels."""

    content_type: str
    width: int
    height: int


class StoredFile(NamedTuple):
    """A rendition that is stored: its key in the bucket and its length."""

    key: str
    bytes: int


def _width(value: object) -> object:
    """Take a width as clients write it, and nothing else that Python takes for a number."""
    widths = {str(width): width for width in WIDTHS}
    if not isinstance(value, str) or value not in widths:
        raise PydanticCustomError("width", "{reason}", {"reason": _wrong_width(WIDTHS)})
    return widths[value]


def _wrong_width(allowed: tuple[int, ...]) -> str:
    return f"Input should be one of {', '.join(map(str, allowed))}, once"


class ImageQuery(BaseModel):
    """GET /jobs/{id}/images/{index}: the image as it is stored, or a rendition of it."""

    # No form sends these. An empty one is a mistake, by which a client would get the whole image.
    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=1)

    width: (
        Annotated[int, BeforeValidator(_width, json_schema_input_type=Literal[WIDTHS])] | None
    ) = Field(
        default=None,
        description="Pixels, at most those of the image. Its height keeps the shape. Without "
        "width and format, the image is as it was generated.",
    )
    format: Literal["jpeg", "webp", "avif", "auto"] | None = Field(
        default=None,
        description="The file format. `auto`, the default with width, is the best of AVIF, WebP "
        "and JPEG that Accept names, and JPEG if it names none.",
    )
    download: Annotated[str, AfterValidator(check_name)] | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="The name under which browsers save the image. An extension that is missing "
        "or wrong is put right.",
    )

    def rendition_of(self, record: ImageRecord, *, accepted: str) -> Rendition | None:
        """Return which rendition of an image is asked for; None for the image as it is stored.

        `accepted` is the type that `auto` means. Raises InvalidRequestError for a width that the
        image does not have.
        """
        own_width, own_height = record.width or 0, record.height or 0
        if self.width is None and self.format is None:
            return None
        width = self.width or own_width
        if width > own_width:
            allowed = tuple(each for each in WIDTHS if each <= own_width)
            msg = f"{_wrong_width(allowed)}: the image is {own_width} pixels wide"
            raise InvalidRequestError([FieldError(("query", "width"), msg, "width")])
        height = max(round(own_height * width / own_width), 1)
        return Rendition(FORMATS.get(self.format or "auto", accepted), width, height)


def render(image: Image, rendition: Rendition, *, packet: bytes = b"") -> bytes:
    """Make the file of a rendition. Raises InvalidImageError for an image that Pillow cannot read.

    It keeps the image's XMP packet, which says that it was generated, and its colour profile. An
    image without XMP gets `packet`.
    """
    from PIL import Image as PillowImage  # noqa: PLC0415 - few requests need it, as in open_image

    if rendition.content_type == "image/avif":
        from PIL import AvifImagePlugin  # noqa: F401, PLC0415 - Pillow would import all plugins

    size = (rendition.width, rendition.height)
    with open_image(image) as opened:
        opened.draft("RGB", size)  # a JPEG need not be decoded in full
        pixels = _with_colours(opened, keeps_alpha=rendition.content_type in _WITH_ALPHA)
        if pixels.size != size:
            pixels = pixels.resize(size, PillowImage.Resampling.LANCZOS)
        kept: dict[str, Any] = {"xmp": opened.info.get("xmp") or packet}
        if opened.mode in {"RGB", "RGBA"}:  # a profile of grey would not fit what it became
            kept["icc_profile"] = opened.info.get("icc_profile")
    file = BytesIO()
    pixels.save(file, **_OPTIONS[rendition.content_type], **{k: v for k, v in kept.items() if v})
    return file.getvalue()


def _with_colours(opened: "Pixels", *, keeps_alpha: bool) -> "Pixels":
    """Convert to what all three formats have: grey is RGB, and transparent is white in a JPEG."""
    from PIL import Image as PillowImage  # noqa: PLC0415

    if not opened.has_transparency_data:
        return opened.convert("RGB")
    pixels = opened.convert("RGBA")
    if keeps_alpha:
        return pixels
    white = PillowImage.new("RGBA", pixels.size, "white")
    return PillowImage.alpha_composite(white, pixels).convert("RGB")
