"""The caption: a strip at the foot of an image that shows the request."""

import unicodedata
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from model_server.engines.sketch.palette import Palette, mix

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_ASCII_PUNCTUATION: Final = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--")
_MAX_CHARACTERS: Final = 400
"""The start of a prompt that is laid out: more never fits into the strip."""


class Caption(NamedTuple):
    """The prompt, the line of small print under it, and the negative prompt or an empty text."""

    prompt: str
    details: str
    without: str


def write_caption(image: Image.Image, caption: Caption, palette: Palette) -> None:
    """Write on the lower edge of `image`: at most two lines of prompt, two of small print."""
    height = round((image.width * image.height) ** 0.5 / 44)
    margin = height
    max_width = image.width - 2 * margin
    large = ImageFont.load_default(height)
    small = _fit_font(caption.details, height * 3 // 4, max_width)
    lines = [(line, large) for line in _wrap(caption.prompt, large, max_width, max_lines=2)]
    if caption.without:
        lines += [(line, small) for line in _wrap(caption.without, small, max_width, max_lines=1)]
    lines.append((caption.details, small))
    pitch = round(height * 1.4)
    top = image.height - pitch * len(lines) - margin
    strip = mix(palette.near, (0, 0, 0), 0.45)
    pen = ImageDraw.Draw(image, "RGBA")
    pen.rectangle((0, top, image.width, image.height), fill=(*strip, 225))
    pen.rectangle((0, top, image.width, top + max(2, height // 8)), fill=palette.accent)
    for number, (line, font) in enumerate(lines):
        ink = (255, 255, 255, 255) if font is large else (*mix(palette.light, strip, 0.1), 255)
        pen.text((margin, top + margin // 2 + 2 + number * pitch), line, font=font, fill=ink)


def _fit_font(text: str, size: int, max_width: float) -> _Font:
    """Return the font of `size`, or a smaller one in which `text` fits."""
    font = ImageFont.load_default(size)
    while font.getlength(text) > max_width and size > 9:
        size -= 1
        font = ImageFont.load_default(size)
    return font


def _wrap(text: str, font: _Font, max_width: float, *, max_lines: int) -> list[str]:
    """Break `text` into at most `max_lines` lines; three dots end the last when text is left."""
    rest = " ".join(_to_ascii(text[:_MAX_CHARACTERS]).split())
    if len(text) > _MAX_CHARACTERS:
        rest += "..."
    lines: list[str] = []
    while rest and len(lines) < max_lines:
        line = _longest_prefix(rest, font, max_width)
        rest = rest[len(line) :].lstrip()
        lines.append(line.rstrip())
    if rest:
        lines[-1] = _longest_prefix(lines[-1], font, max_width - font.getlength("...")) + "..."
    return lines


def _to_ascii(text: str) -> str:
    """Return `text` in ASCII: Pillow's built-in font has few other glyphs."""
    letters = unicodedata.normalize("NFKD", text.translate(_ASCII_PUNCTUATION))
    bare = "".join(c for c in letters if not unicodedata.combining(c))
    return "".join(c if c.isprintable() else " " for c in bare.encode("ascii", "replace").decode())


def _longest_prefix(text: str, font: _Font, max_width: float) -> str:
    """Return as much of `text` as fits, cut between two words where that is possible."""
    end = len(text)
    while end > 1 and font.getlength(text[:end]) > max_width:
        end -= 1
    space = text.rfind(" ", 0, end)
    whole_words = end == len(text) or text[end] == " " or space <= 0
    return text[:end] if whole_words else text[:space]
