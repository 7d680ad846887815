"""Init images are decoded upright, in RGB, or refused; pictures are encoded as asked."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image
from pydantic_core import PydanticCustomError

from model_server.contract.images import encode, read_init_image
from tests.unit.model_server.serving import as_base64

RED = Image.new("RGB", (64, 48), "red")
NOISE = Image.effect_noise((64, 64), 50)


def bomb() -> str:
    """A file of a few bytes that says it has 10^10 pixels."""
    file = bytearray(base64.b64decode(as_base64(Image.new("1", (1, 1)))))
    file[16:24] = struct.pack(">II", 100_000, 100_000)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    return base64.b64encode(file).decode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_init_image_of_each_kind_is_read(kind: str) -> None:
    picture = read_init_image(as_base64(RED, kind))
    assert (picture.mode, picture.size) == ("RGB", (64, 48))
    red, green, blue = picture.resize((1, 1)).tobytes()
    assert red > 240
    assert max(green, blue) < 20


def test_what_is_transparent_becomes_white() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert read_init_image(as_base64(clear)).tobytes() == b"\xff" * (64 * 64 * 3)


@pytest.mark.parametrize("resolution_type", [4, 2], ids=["sound", "badly-written"])
def test_a_turned_photograph_is_put_upright(resolution_type: int) -> None:
    orientation = struct.pack("<HHI4s", 0x0112, 3, 1, b"\6\0\0\0")  # to be turned by a quarter
    resolution = struct.pack("<HHI4s", 0x011A, resolution_type, 1, b"x\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + orientation + resolution + b"\0\0\0\0"
    assert read_init_image(as_base64(RED, "JPEG", exif=exif)).size == (48, 64)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        pytest.param(7, "string_type", id="number"),
        pytest.param("", "image", id="empty"),
        pytest.param("AAAA", "image", id="no-picture"),
        pytest.param("A", "base64", id="cut-base64"),
        pytest.param("AAAA\n", "base64", id="line-break"),
        pytest.param("é", "base64", id="not-ascii"),
        pytest.param(as_base64(RED, "GIF"), "image", id="gif"),
        pytest.param(as_base64(NOISE)[:2000], "image", id="cut-picture"),
        pytest.param(as_base64(Image.new("1", (4097, 1))), "image_size", id="4097-pixels"),
        pytest.param(bomb(), "image_size", id="bomb"),
    ],
)
def test_what_is_no_picture_of_these_kinds_is_refused(value: object, kind: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        read_init_image(value)
    assert caught.value.type == kind


@pytest.mark.parametrize(("encoding", "kind"), [("jpeg", "JPEG"), ("png", "PNG")])
def test_a_picture_is_encoded_as_asked(encoding: str, kind: str) -> None:
    text = encode(RED, "png" if encoding == "png" else "jpeg")
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
        assert (picture.format, picture.size) == (kind, (64, 48))
