"""The strip at the foot of a picture that says what was asked for."""

import unicodedata
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from model_server.engines.sketch.palette import Palette, mix

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PLAIN: Final = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--")
_READ: Final = 400
"""Characters of a prompt that are looked at: more never fit into the strip."""


class Caption(NamedTuple):
    """The prompt, the line of small print under it, and what should not be in the picture."""

    prompt: str
    details: str
    without: str


def write_caption(picture: Image.Image, caption: Caption, palette: Palette) -> None:
    """Write on the lower edge of `picture`, in at most two lines of prompt and two of details."""
    height = round((picture.width * picture.height) ** 0.5 / 44)
    margin = height
    room = picture.width - 2 * margin
    large, small = ImageFont.load_default(height), _fitting(caption.details, height * 3 // 4, room)
    lines = [(line, large) for line in _wrap(caption.prompt, large, room, most=2)]
    if caption.without:
        lines += [(line, small) for line in _wrap(caption.without, small, room, most=1)]
    lines.append((caption.details, small))
    pitch = round(height * 1.4)
    top = picture.height - pitch * len(lines) - margin
    strip = mix(palette.near, (0, 0, 0), 0.45)
    pen = ImageDraw.Draw(picture, "RGBA")
    pen.rectangle((0, top, picture.width, picture.height), fill=(*strip, 225))
    pen.rectangle((0, top, picture.width, top + max(2, height // 8)), fill=palette.accent)
    for number, (line, font) in enumerate(lines):
        ink = (255, 255, 255, 255) if font is large else (*mix(palette.light, strip, 0.1), 255)
        pen.text((margin, top + margin // 2 + 2 + number * pitch), line, font=font, fill=ink)


def _fitting(text: str, size: int, room: float) -> _Font:
    font = ImageFont.load_default(size)
    while font.getlength(text) > room and size > 9:
        size -= 1
        font = ImageFont.load_default(size)
    return font


def _wrap(text: str, font: _Font, room: float, *, most: int) -> list[str]:
    """Break `text` into at most `most` lines; the last ends in three dots when there is more."""
    rest = " ".join(_plain(text[:_READ]).split()) + ("..." if len(text) > _READ else "")
    lines: list[str] = []
    while rest and len(lines) < most:
        line = _longest_start(rest, font, room)
        rest = rest[len(line) :].lstrip()
        lines.append(line.rstrip())
    if rest:
        lines[-1] = _longest_start(lines[-1], font, room - font.getlength("...")) + "..."
    return lines


def _plain(text: str) -> str:
    """Return `text` in ASCII, since Pillow's built-in font has few glyphs beyond it."""
    letters = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(c for c in letters if not unicodedata.combining(c))
    return "".join(c if c.isprintable() else " " for c in bare.encode("ascii", "replace").decode())


def _longest_start(text: str, font: _Font, room: float) -> str:
    end = len(text)
    while end > 1 and font.getlength(text[:end]) > room:
        end -= 1
    space = text.rfind(" ", 0, end)
    whole_words = end == len(text) or text[end] == " " or space <= 0
    return text[:end] if whole_words else text[:space]
