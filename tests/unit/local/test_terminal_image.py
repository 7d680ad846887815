"""Which terminals are sent an image, and what they are sent."""

import base64
import io
import re

import pytest
from PIL import Image

from local.terminal_image import Protocol, iterm2, kitty, protocol, small_png
from tests.support.factories.images import png


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, kitty),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, kitty),
        ({"TERM": "xterm-ghostty"}, kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, iterm2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, iterm2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, iterm2),  # over ssh
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/run/tmux,1,0"}, None),
        ({"TERM": "screen", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_which_protocol_a_terminal_has(
    environ: dict[str, str], expected: Protocol | None
) -> None:
    assert protocol(environ) is expected


@pytest.mark.parametrize("size", [1, 3072, 3073, 10_000])
def test_kitty_is_sent_chunks_that_it_takes_and_answers_none(size: int) -> None:
    image = bytes(range(256)) * (size // 256) + b"\0" * (size % 256)
    sent = kitty(image)
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in chunks) == sent
    assert base64.b64decode("".join(data for _, data in chunks)) == image
    keys = [dict(pair.split("=") for pair in keys.split(",")) for keys, _ in chunks]
    assert keys[0] | {"m": "_"} == {"a": "T", "f": "100", "q": "2", "c": "32", "m": "_"}
    assert all(each.keys() == {"q", "m"} and each["q"] == "2" for each in keys[1:])
    assert [each["m"] for each in keys] == [*("1" for _ in keys[1:]), "0"]
    assert all(len(data) <= 4096 for _, data in chunks)
    assert all(len(data) % 4 == 0 for _, data in chunks[:-1])


def test_iterm2_is_sent_one_file_inline() -> None:
    found = re.fullmatch(r"\x1b]1337;File=inline=1;size=5;([^:]*):([^\x07]*)\x07", iterm2(b"image"))
    assert found
    assert found[1] == "width=32;preserveAspectRatio=1"
    assert base64.b64decode(found[2]) == b"image"


@pytest.mark.parametrize(("size", "small"), [((1536, 640), (320, 133)), ((64, 64), (64, 64))])
def test_an_image_is_made_small_in_its_shape(size: tuple[int, int], small: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(small_png(png(*size)))) as image:
        assert (image.format, image.size) == ("PNG", small)
