"""Small real images, and PNGs built chunk by chunk: the same bytes on every run."""

import random
import zlib
from collections.abc import Iterable
from io import BytesIO
from struct import pack
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
SECRET = "47.3769N 8.5417E 2026:11:27"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS_OF_PNG = [
    (color, depth)
    for color, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    .items()
    for depth in depths
]  # fmt: skip


def image(
    width: int = 64, height: int = 64, *, kind: str = "png", mode: str = "RGB", **options: Any
) -> bytes:
    """Save noise as a file of `kind` (any that Pillow writes); `options` are Pillow's."""
    noise = random.Random(f"{width}x{height}").randbytes(width * height * len(mode))  # noqa: S311
    return saved(Image.frombytes(mode, (width, height), noise), kind=kind, **options)


def png(width: int = 64, height: int = 64, **options: Any) -> bytes:
    """Save a PNG of noise, which deflate cannot make smaller."""
    return image(width, height, kind="png", **options)


def jpeg(width: int = 64, height: int = 64, **options: Any) -> bytes:
    """Save a JPEG of noise."""
    return image(width, height, kind="jpeg", **options)


def webp(width: int = 64, height: int = 64, **options: Any) -> bytes:
    """Save a WebP of noise: VP8, VP8L with lossless=True, VP8X with exif or alpha."""
    return image(width, height, kind="webp", **options)


def mpo(width: int = 64, height: int = 64, **options: Any) -> bytes:
    """Save a JPEG of noise as phones do, with a second image behind it."""
    other = Image.new("RGB", (width // 2, height // 2))
    return image(width, height, kind="mpo", save_all=True, append_images=[other], **options)


def flat(width: int, height: int, *, kind: str = "png", mode: str = "RGB") -> bytes:
    """Save one colour: a very small file of any size in pixels."""
    return saved(Image.new(mode, (width, height)), kind=kind)


def saved(image: Image.Image, *, kind: str, **options: Any) -> bytes:
    """Save `image` as Pillow does."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def two_colored(size: tuple[int, int] = (100, 80), *, mode: str = "RGB") -> Image.Image:
    """Make an image that is red on its left and blue on its right."""
    made = Image.new("RGB", size, RED)
    made.paste(BLUE, (size[0] // 2, 0, *size))
    return made.convert(mode)


def exif(orientation: int) -> Image.Exif:
    """Make the EXIF of a phone: how it was held, and where, when and by whom."""
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.Make] = SECRET
    made[ExifTags.Base.DateTime] = SECRET
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = SECRET.encode()
    made.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = SECRET.encode()
    return made


def phone_photo(size: tuple[int, int], *, kind: str, orientation: int = 1) -> bytes:
    """Save `two_colored` with a phone's EXIF, and in every other place that a format has for it.

    `kind` is jpeg, mpo, webp or png. SECRET stands wherever Pillow can write a text.
    """
    options: dict[str, Any] = {"exif": exif(orientation), "xmp": f"<x>{SECRET}</x>".encode()}
    made = two_colored(size)
    if kind == "png":
        del options["xmp"]
        options["pnginfo"] = texts = PngInfo()
        texts.add_text("Comment", SECRET)
        texts.add_text("Author", SECRET, zip=True)
        texts.add_itxt("XML:com.adobe.xmp", SECRET)
    elif kind != "webp":
        options["comment"] = SECRET
    if kind == "mpo":
        options |= {"save_all": True, "append_images": [made.resize((80, 60))]}
    return saved(made, kind=kind, quality=95, **options)


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """Put segments into a JPEG, behind its first one."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + b"".join(segments) + data[at:]


def segment(marker: int, body: bytes) -> bytes:
    """Build one segment of a JPEG."""
    return pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Build one PNG chunk, with its length and its CRC."""
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int, *, color: int = 2, depth: int = 8, interlaced: int = 0) -> bytes:
    """Build the header chunk of a PNG, right or wrong."""
    return chunk(b"IHDR", pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png_of(*chunks: bytes) -> bytes:
    """Join chunks to a PNG, right or wrong."""
    return PNG_SIGNATURE + b"".join(chunks)


def black_png(
    width: int,
    height: int,
    *,
    color: int = 2,
    depth: int = 8,
    interlaced: int = 0,
    more_bytes: int = 0,
) -> bytes:
    """Build a PNG of any kind, also of those that Pillow does not write.

    `more_bytes` are added to its pixels, or taken off when negative.
    """
    raw = bytes(sum(_row_lengths(width, height, color, depth, interlaced)) + more_bytes)
    palette = [chunk(b"PLTE", bytes(6))] if color == 3 else []
    return png_of(
        ihdr(width, height, color=color, depth=depth, interlaced=interlaced),
        *palette,
        chunk(b"IDAT", zlib.compress(raw)),
        chunk(b"IEND"),
    )


def _row_lengths(width: int, height: int, color: int, depth: int, interlaced: int) -> Iterable[int]:
    bits = depth * CHANNELS[color]
    for x, y, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns = len(range(x, width, across))
        for _ in range(y, height, down):
            yield 1 + -(-columns * bits // 8)
