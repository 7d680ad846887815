"""Shows an image in terminals that can, by the protocols of kitty and iTerm2."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from PIL import Image

_PIXELS: Final = 320
_COLUMNS: Final = 32
_CHUNK: Final = 4096
"""The most characters of base64 that kitty takes at once."""

Protocol = Callable[[bytes], str]
"""Makes what a terminal must be sent from a PNG."""


def protocol(environ: Mapping[str, str]) -> Protocol | None:
    """Return how this terminal shows images, as its environment says; None if it does not say so.

    Asking the terminal itself would leave an answer in the input of the shell.
    """
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.get("TMUX") or term.startswith(("screen", "tmux")):
        return None  # it passes no images on, unless it is told to
    if term in {"xterm-kitty", "xterm-ghostty"} or program == "ghostty":
        return kitty
    if program in {"iTerm.app", "WezTerm"}:
        return iterm2
    if program:  # such as an editor that was started from one of these
        return None
    if environ.get("KITTY_WINDOW_ID"):
        return kitty
    return iterm2 if environ.get("LC_TERMINAL") == "iTerm2" else None


def kitty(png: bytes) -> str:
    """Return a PNG in the protocol of kitty, which is told to answer nothing."""
    return "".join(_kitty_chunks(base64.b64encode(png).decode()))


def iterm2(png: bytes) -> str:
    """Return a PNG in the protocol of iTerm2."""
    options = f"inline=1;size={len(png)};width={_COLUMNS};preserveAspectRatio=1"
    return f"\x1b]1337;File={options}:{base64.b64encode(png).decode()}\x07"


def small_png(image: bytes) -> bytes:
    """Return the image in a few hundred pixels and colours: 24 kB, where the whole has a MB."""
    with Image.open(io.BytesIO(image)) as opened:
        small = opened.convert("RGB")
    small.thumbnail((_PIXELS, _PIXELS))
    out = io.BytesIO()
    small.quantize(256).save(out, "PNG", optimize=True)
    return out.getvalue()


def _kitty_chunks(data: str) -> Iterator[str]:
    control = f"a=T,f=100,q=2,c={_COLUMNS},"
    for start in range(0, len(data), _CHUNK):
        more = int(start + _CHUNK < len(data))
        yield f"\x1b_G{control}m={more};{data[start : start + _CHUNK]}\x1b\\"
        control = "q=2,"
