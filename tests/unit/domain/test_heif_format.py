"""The headers of AVIF and HEIC files, in real files and in forged ones."""

from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sd3.domain.heif_format import Heif, read_heif
from sd3.domain.image_formats import InvalidImageError
from tests.support.factories.heif_files import avif, box, flat_avif, heic
from tests.support.factories.images import saved

FTYP = box(b"ftyp", b"heic\0\0\0\0mif1heic")
MDAT = box(b"mdat")
WHOLE = [heic(), heic(tiles=(2, 1), size=(384, 64), profile=bytes(900)), avif()]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (heic(), Heif("HEIC", 192, 64, 1, 13)),
        (heic(primaries=12), Heif("HEIC", 192, 64, 12, 13)),
        (heic(tiles=(2, 2), size=(300, 100)), Heif("HEIC", 300, 100, 1, 13)),
        (heic(brands=b"mif1\0\0\0\0heix"), Heif("HEIC", 192, 64, 1, 13)),
        (heic() + b"what a camera appends", Heif("HEIC", 192, 64, 1, 13)),
        (flat_avif(67, 65), Heif("AVIF", 67, 65, 1, 13)),
        (flat_avif(67, 65, mode="RGBA"), Heif("AVIF", 67, 65, 1, 13)),
        (avif(profile=b"profile"), Heif("AVIF", 192, 64)),
    ],
    ids=["HEIC", "P3", "tiles", "another brand", "more bytes", "AVIF", "alpha", "profile"],
)
def test_a_real_image_is_read(data: bytes, expected: Heif) -> None:
    assert read_heif(data) == expected


@pytest.mark.parametrize("data", WHOLE)
def test_an_image_truncated_anywhere_is_rejected(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(InvalidImageError):
            read_heif(data[:length])


def test_an_animation_is_rejected() -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    animated = saved(frames[0], kind="avif", save_all=True, append_images=frames[1:])
    for data in (animated, heic(brands=b"hevc\0\0\0\0heic"), heic(brands=b"msf1\0\0\0\0heic")):
        with pytest.raises(InvalidImageError, match="an animated AVIF or HEIC is not supported"):
            read_heif(data)


@pytest.mark.parametrize("brands", [b"isom\0\0\0\0mp42", b"mif1\0\0\0\0miaf", b"", b"qt  "])
def test_what_is_of_other_brands_is_rejected(brands: bytes) -> None:
    with pytest.raises(InvalidImageError, match="not a PNG, JPEG, WebP, AVIF or HEIC image but"):
        read_heif(heic(brands=brands))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FTYP, "cut off"),
        (FTYP + box(b"meta", bytes(4)) + MDAT, "header is damaged"),
        (FTYP + box(b"meta", bytes(4), box(b"pitm", bytes(6)), box(b"iprp")) + MDAT, "damaged"),
        (FTYP + box(b"free") * 3000, "too many parts"),
        (FTYP + box(b"meta", bytes(4), box(b"free") * 3000) + MDAT, "too many parts"),
        (FTYP + pack(">I4s", 7, b"meta"), "header is damaged"),
        (FTYP + pack(">I4sQ", 1, b"meta", 15), "header is damaged"),
        (FTYP + pack(">I4sQ", 1, b"meta", 2**63), "cut off"),
        (FTYP + pack(">I4s", 2**32 - 1, b"meta"), "cut off"),
        (heic().replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\7"), "header is damaged"),
        (heic().replace(b"ispe", b"free"), "header is damaged"),
        (heic().replace(b"iinf", b"free"), "header is damaged"),
        (heic().replace(b"hvc1", b"unci"), "kind that is not supported"),
        (heic(tiles=(1, 1)).replace(b"grid", b"iden"), "kind that is not supported"),
        (heic().replace(b"infe\2", b"infe\0"), "kind that is not supported"),
    ],
)
def test_a_hostile_header_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        read_heif(data)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_header_raises_nothing_else(draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from(WHOLE))
    position = draw.draw(st.integers(0, len(data) - 1))
    new = draw.draw(st.binary(min_size=1, max_size=4) | st.just(b"\xff\xff\xff\xff"))
    with suppress(InvalidImageError):
        read_heif(data[:position] + new + data[position + len(new) :])
