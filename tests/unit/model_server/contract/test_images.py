"""Init images are decoded upright and in RGB, or rejected; images are encoded as requested."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image
from pydantic_core import PydanticCustomError

from model_server.contract.images import decode_init_image, encode_image
from tests.support.factories.base64_images import encode_base64

RED = Image.new("RGB", (64, 48), "red")
NOISE = Image.effect_noise((64, 64), 50)


def bomb() -> str:
    """Return a file of a few bytes whose header claims 10^10 pixels."""
    file = bytearray(base64.b64decode(encode_base64(Image.new("1", (1, 1)))))
    file[16:24] = struct.pack(">II", 100_000, 100_000)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    return base64.b64encode(file).decode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_init_image_of_each_kind_is_decoded(kind: str) -> None:
    image = decode_init_image(encode_base64(RED, kind))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    red, green, blue = image.resize((1, 1)).tobytes()
    assert red > 240
    assert max(green, blue) < 20


def test_transparent_pixels_become_white() -> None:
    transparent = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert decode_init_image(encode_base64(transparent)).tobytes() == b"\xff" * (64 * 64 * 3)


@pytest.mark.parametrize("resolution_type", [4, 2], ids=["valid-exif", "invalid-exif"])
def test_a_rotated_photograph_is_turned_upright(resolution_type: int) -> None:
    orientation = struct.pack("<HHI4s", 0x0112, 3, 1, b"\6\0\0\0")  # a quarter turn
    resolution = struct.pack("<HHI4s", 0x011A, resolution_type, 1, b"x\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + orientation + resolution + b"\0\0\0\0"
    assert decode_init_image(encode_base64(RED, "JPEG", exif=exif)).size == (48, 64)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        pytest.param(7, "string_type", id="number"),
        pytest.param("", "image", id="empty"),
        pytest.param("AAAA", "image", id="no-image"),
        pytest.param("A", "base64", id="truncated-base64"),
        pytest.param("AAAA\n", "base64", id="line-break"),
        pytest.param("é", "base64", id="not-ascii"),
        pytest.param(encode_base64(RED, "GIF"), "image", id="gif"),
        pytest.param(encode_base64(NOISE)[:2000], "image", id="truncated-image"),
        pytest.param(encode_base64(Image.new("1", (4097, 1))), "image_size", id="4097-pixels"),
        pytest.param(bomb(), "image_size", id="bomb"),
    ],
)
def test_anything_else_is_rejected(value: object, kind: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        decode_init_image(value)
    assert caught.value.type == kind


@pytest.mark.parametrize(("encoding", "kind"), [("jpeg", "JPEG"), ("png", "PNG")])
def test_an_image_is_encoded_as_requested(encoding: str, kind: str) -> None:
    text = encode_image(RED, "png" if encoding == "png" else "jpeg")
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        assert (image.format, image.size) == (kind, (64, 48))
