"""Renditions: what a query asks for, and what a file has of the image that it was made of."""

import io
from typing import Any

import pytest
from PIL import Image as PillowImage
from PIL import ImageCms
from PIL.PngImagePlugin import PngInfo

from sd3.api.request import checked
from sd3.domain.image import read_image
from sd3.domain.job import ImageRecord
from sd3.domain.rendition import WIDTHS, ImageQuery, Rendition, render
from sd3.errors import InvalidRequestError
from tests.support.factories.icc_profiles import grey_profile
from tests.support.factories.images import BLUE, RED, WHITE, image, saved, two_colored

XMP = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
FORMATS = ["jpeg", "webp", "avif"]


def rendition(kind: str, width: int, height: int) -> Rendition:
    return Rendition(f"image/{kind}", width, height)


def asked(record: ImageRecord, **query: Any) -> Rendition | None:
    return checked(ImageQuery, query, "query").rendition_of(record, accepted="image/avif")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, None),
        ({"download": "fox"}, None),
        ({"width": "256"}, ("image/avif", 256, 107)),
        ({"width": "64", "format": "jpeg"}, ("image/jpeg", 64, 27)),
        ({"format": "webp"}, ("image/webp", 1536, 640)),
        ({"format": "auto"}, ("image/avif", 1536, 640)),
    ],
)
def test_a_query_asks_for_the_image_or_for_a_rendition(
    query: dict[str, str], expected: tuple[str, int, int] | None
) -> None:
    wide = ImageRecord(index=0, seed=1, key="0.png", width=1536, height=640)
    assert asked(wide, **query) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("width", text) for text in ("1", "99999", "+256", "0256", "1e3", "256.0", "256px", "",
                                       " 256", "-256", "2_56", "\u0662\u0665\u0666", "auto")),
        ("width", ["256", "256"]),
        *(("format", text) for text in ("exe", "JPEG", "jpg", "png", "", "image/webp")),
        ("format", ["webp", "webp"]),
        *(("download", text) for text in ("", "x" * 101, "../x", "a\nb")),
        ("download", ["a", "a"]),
        ("height", "256"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        checked(ImageQuery, {name: value}, "query")
    assert [error.loc for error in caught.value.field_errors] == [("query", name)]
    if name == "width":
        assert all(str(width) in caught.value.field_errors[0].msg for width in WIDTHS)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("source", ["jpeg", "png", "webp"])
def test_a_rendition_has_its_size_and_shows_the_same(source: str, kind: str) -> None:
    data = saved(two_colored((400, 200)), kind=source)
    made = PillowImage.open(io.BytesIO(render(read_image(data), rendition(kind, 128, 64))))
    assert (made.format, made.size, made.mode) == (kind.upper(), (128, 64), "RGB")
    for x, color in ((20, RED), (108, BLUE)):
        pixel: Any = made.getpixel((x, 32))
        assert pixel == pytest.approx(color, abs=12)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("source", ["jpeg", "png", "webp"])
def test_the_mark_and_the_colour_profile_stay(source: str, kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {"icc_profile": profile}
    if source == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = info
    else:
        options["xmp"] = XMP
    data = image(80, 80, kind=source, **options)
    made = PillowImage.open(io.BytesIO(render(read_image(data), rendition(kind, 64, 64))))
    assert (made.info["xmp"], made.info["icc_profile"]) == (XMP, profile)


def test_the_profile_of_grey_is_not_that_of_its_rendition() -> None:
    data = image(80, 80, kind="jpeg", mode="L", icc_profile=grey_profile(2.2))
    made = PillowImage.open(io.BytesIO(render(read_image(data), rendition("jpeg", 64, 64))))
    assert (made.mode, made.info.get("icc_profile")) == ("RGB", None)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_an_image_does_not_have_is_not_added(kind: str) -> None:
    made = render(read_image(image(80, 80, exif=b"Exif\0\0secret")), rendition(kind, 64, 64))
    info = PillowImage.open(io.BytesIO(made)).info
    assert not {"xmp", "icc_profile", "exif"} & {name for name, value in info.items() if value}


@pytest.mark.parametrize(("mode", "kind", "expected"), [
    ("RGBA", "webp", "RGBA"), ("RGBA", "avif", "RGBA"), ("RGBA", "jpeg", "RGB"),
    ("L", "avif", "RGB"), ("LA", "jpeg", "RGB"), ("P", "webp", "RGBA"), ("1", "jpeg", "RGB"),
])  # fmt: skip
def test_every_mode_of_an_image_has_renditions(mode: str, kind: str, expected: str) -> None:
    empty = PillowImage.new("RGBA", (80, 80)).convert(mode)
    made = PillowImage.open(
        io.BytesIO(render(read_image(saved(empty, kind="png")), rendition(kind, 64, 64)))
    )
    assert made.mode == expected
    if mode in {"RGBA", "LA"} and kind == "jpeg":
        assert made.getpixel((1, 1)) == WHITE
