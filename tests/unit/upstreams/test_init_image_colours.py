"""Init images of other colours than sRGB, compared with what a colour-managed viewer shows.

What it shows is computed by the matrices of CSS Color 4, and by CIE's formulas, in this file.
"""

import zlib
from io import BytesIO
from struct import pack
from typing import Any

import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from sd3.domain.colour_profile import rgb_profile
from sd3.domain.image import Image, read_image
from sd3.upstreams.init_image import prepare_init_image
from tests.support.factories.heif_files import IN_SRGB, P3
from tests.support.factories.heif_files import PATCHES as OTHER_PATCHES
from tests.support.factories.icc_profiles import INKS, cmyk_profile, faded_profile, grey_profile
from tests.support.factories.images import chunk, ihdr, png_of, saved

ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
BT_2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
TO_XYZ = {
    P3: ((0.4865709, 0.2656677, 0.1982173), (0.2289746, 0.6917385, 0.0792869),
         (0.0, 0.0451134, 1.0439444)),
    ADOBE: ((0.5766690, 0.1855582, 0.1882286), (0.2973450, 0.6273636, 0.0752915),
            (0.0270314, 0.0706889, 0.9913375)),
    BT_2020: ((0.6369580, 0.1446169, 0.1688810), (0.2627002, 0.6779981, 0.0593017),
              (0.0, 0.0280727, 1.0609851)),
    SRGB: ((0.4123908, 0.3575843, 0.1804808), (0.2126390, 0.7151687, 0.0721923),
           (0.0193308, 0.1191948, 0.9505322)),
}  # fmt: skip
FROM_XYZ = (
    (3.2409699, -1.5373832, -0.4986108), (-0.9692436, 1.8759675, 0.0415551),
    (0.0556301, -0.2039770, 1.0569715),
)  # fmt: skip
FROM_XYZ_D50 = (
    (3.1338561, -1.6168667, -0.4906146), (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)  # fmt: skip
PATCHES = [(200, 100, 50), (60, 120, 90), (140, 128, 160), (20, 60, 80), (255, 255, 255), (0, 0, 0)]
CODES = {P3: 12, BT_2020: 9, SRGB: 1}
OWN_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def times(matrix: Any, vector: Any) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def linear(value: int, gamma: float | None) -> float:
    v = value / 255
    if gamma:
        return float(v**gamma)
    return v / 12.92 if v <= 0.04045 else float(((v + 0.055) / 1.055) ** 2.4)


def encoded(light: tuple[float, ...]) -> tuple[int, ...]:
    clipped = [min(max(v, 0.0), 1.0) for v in light]
    curved = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in clipped]
    return tuple(round(255 * v) for v in curved)


def shown(colour: tuple[int, ...], primaries: Any, gamma: float | None = None) -> tuple[int, ...]:
    return encoded(times(FROM_XYZ, times(TO_XYZ[primaries], [linear(v, gamma) for v in colour])))


def shown_lab(lightness: float, a: float, b: float) -> tuple[int, ...]:
    f = (lightness + 16) / 116
    roots = (f + a / 500, f, f - b / 200)
    xyz = [w * (r**3 if r > 6 / 29 else (r - 4 / 29) * 108 / 841)
           for w, r in zip((0.9642, 1.0, 0.8249), roots, strict=True)]  # fmt: skip
    return encoded(times(FROM_XYZ_D50, xyz))


def patches(colours: Any = PATCHES, mode: str = "RGB") -> PillowImage.Image:
    """Paint squares of 64 pixels beside each other, so that no encoder blurs their middles."""
    made = PillowImage.new(mode, (64 * len(colours), 64))
    for index, colour in enumerate(colours):
        made.paste(colour, (64 * index, 0, 64 * index + 64, 64))
    return made


def sent(data: bytes, *, size: tuple[int, int] | None = None) -> tuple[Image, list[Any]]:
    """Prepare a file for an upstream, and read the squares of what is sent as it stands."""
    start = read_image(data)
    image = prepare_init_image(start, *(size or (start.width, start.height)))
    opened = PillowImage.open(BytesIO(image.data))
    assert "icc_profile" not in opened.info or image is start
    squares = opened.width // opened.height
    middles = [(round((n + 0.5) * opened.height), opened.height // 2) for n in range(squares)]
    return image, [opened.convert("RGB").getpixel(at) for at in middles]


def assert_near(found: list[Any], expected: list[Any], *, most: int) -> None:
    for one, other in zip(found, expected, strict=True):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= most, (found, expected)


@pytest.mark.parametrize(("primaries", "gamma"), [(P3, None), (ADOBE, 2.2), (BT_2020, None)])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [None, (128, 64)], ids=["its size", "scaled"])
def test_colours_of_a_profile_are_sent_as_a_viewer_shows_them(
    kind: str, primaries: Any, gamma: float | None, size: tuple[int, int] | None
) -> None:
    profile = rgb_profile(primaries, gamma)
    options = {"quality": 100, "lossless": True} if kind == "webp" else {"quality": 98}
    data = saved(patches(PATCHES[:2]), kind=kind, icc_profile=profile, **options)
    _, found = sent(data, size=size)
    expected = [shown(colour, primaries, gamma) for colour in PATCHES[:2]]
    assert max(abs(a - b) for a, b in zip(expected[0], PATCHES[0], strict=True)) > 4
    assert_near(found, expected, most=2 if kind == "png" else 4)


def test_the_colours_that_other_tests_expect_are_those_that_are_computed_here() -> None:
    assert_near([shown(colour, P3) for colour in OTHER_PATCHES], list(IN_SRGB), most=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_every_patch_is_near_the_viewers(mode: str) -> None:
    profile = rgb_profile(P3)
    made = patches().quantize(16) if mode == "P" else patches().convert(mode)
    _, found = sent(saved(made, kind="png", icc_profile=profile))
    assert_near(found, [shown(colour, P3) for colour in PATCHES], most=1)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_of_a_profile_is_sent_as_a_viewer_shows_it(mode: str) -> None:
    value = {"1": 255, "I;16": 100 * 257}.get(mode, 100)
    made = patches([(value, 255) if mode == "LA" else value], mode)
    _, found = sent(saved(made, kind="png", icc_profile=grey_profile(1.8)))
    expected = encoded((linear(255 if mode == "1" else 100, 1.8),) * 3)
    assert_near(found, [expected], most=1)


def test_the_black_of_a_print_is_black() -> None:
    """Black point compensation: without it the darkest shade would be grey."""
    _, found = sent(saved(patches([0, 255], "L"), kind="png", icc_profile=faded_profile()))
    assert_near(found, [(0, 0, 0), (255, 255, 255)], most=2)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_what_is_transparent_becomes_white_in_every_space(mode: str, colour: Any) -> None:
    profile = rgb_profile(P3) if mode == "RGBA" else grey_profile(1.8)
    _, found = sent(saved(patches([colour], mode), kind="png", icc_profile=profile))
    assert found == [(255, 255, 255)]


def test_inks_are_sent_as_a_viewer_shows_them() -> None:
    inks = [tuple(255 * ink for ink in (*one, 0)) for one in INKS]
    black, paper = (0, 0, 0, 255), (0, 0, 0, 0)
    made = patches([*inks, black, paper], "CMYK")
    expected = [*(shown_lab(*lab) for lab in INKS.values()), (0, 0, 0), (255, 255, 255)]
    _, found = sent(saved(made, kind="jpeg", quality=100, icc_profile=cmyk_profile()))
    assert_near(found, expected, most=4)


def test_cmyk_without_a_profile_is_sent_as_browsers_show_it() -> None:
    """They subtract the inks from white. Files of Adobe hold them inverted, as this one does."""
    made = patches([(255, 0, 0, 0), (0, 51, 102, 0), (0, 0, 0, 255), (0, 0, 0, 0)], "CMYK")
    data = saved(made, kind="jpeg", quality=100)
    assert b"Adobe" in data
    _, found = sent(data)
    assert_near(found, [(0, 255, 255), (255, 204, 153), (0, 0, 0), (255, 255, 255)], most=4)


def described(*chunks: bytes, colour: tuple[int, int, int] = PATCHES[0]) -> bytes:
    rows = (b"\0" + bytes(colour) * 64) * 64
    return png_of(ihdr(64, 64), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND"))


def chrm(primaries: Any) -> bytes:
    return chunk(b"cHRM", pack(">8I", *(round(100_000 * value) for value in primaries)))


def gama(value: int) -> bytes:
    return chunk(b"gAMA", pack(">I", value))


def iccp(profile: bytes | None) -> bytes:
    return chunk(b"iCCP", b"a\0\0" + zlib.compress(profile or b""))


def cicp(primaries: int, curve: int = 13) -> bytes:
    return chunk(b"cICP", bytes((primaries, curve, 0, 1)))


@pytest.mark.parametrize(
    ("chunks", "primaries", "gamma"),
    [
        ([cicp(12)], P3, None),
        ([cicp(9, 1)], BT_2020, None),
        ([cicp(12), iccp(rgb_profile(ADOBE, 2.2))], P3, None),
        ([iccp(rgb_profile(P3)), chrm(ADOBE), gama(45455)], P3, None),
        ([chrm(P3)], P3, None),
        ([chrm(P3), gama(45455)], P3, None),
        ([chrm(ADOBE), gama(55556)], ADOBE, 1.8),
        ([gama(100_000)], SRGB, 1.0),
    ],
    ids=["cICP", "cICP of video", "cICP before iCCP", "iCCP before cHRM", "cHRM",
         "cHRM and sRGB's gAMA", "cHRM and gAMA", "linear light"],
)  # fmt: skip
def test_a_pngs_own_description_of_its_colours_counts(
    chunks: list[bytes], primaries: Any, gamma: float | None
) -> None:
    _, found = sent(described(*chunks))
    assert_near(found, [shown(PATCHES[0], primaries, gamma)], most=1)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"sRGB", b"\0"), chrm(P3), gama(100_000)],
        [chrm(SRGB), gama(45455)],
        [cicp(1)],
        [cicp(1), iccp(rgb_profile(P3))],
        [cicp(9, 16)],
        [cicp(2, 2)],
        [gama(0)],
        [gama(1)],
        [gama(45455)],
        [chrm((0.0,) * 8)],
        [chrm((0.3127, 0.3290, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5))],
        [chrm((42_949,) * 8)],
        [iccp(OWN_SRGB)],
        [iccp(rgb_profile(SRGB))],
        [iccp(b"profile" * 1000)],
        [iccp((rgb_profile(P3) or b"")[:200])],
        [iccp((rgb_profile(P3) or b"").replace(b"RGB ", b"CMYK"))],
        [iccp((rgb_profile(P3) or b"").replace(b"mntr", b"link"))],
        [iccp(cmyk_profile())],
        [iccp(grey_profile(1.8))],
    ],
)  # fmt: skip
def test_srgb_and_what_viewers_ignore_is_left_as_it_is(chunks: list[bytes]) -> None:
    data = described(*chunks)
    image, found = sent(data)
    assert image.data == data
    assert found == [PATCHES[0]]


def test_a_profile_of_more_than_a_megabyte_is_ignored() -> None:
    profile = (rgb_profile(P3) or b"") + bytes(1_000_000)
    data = saved(patches(), kind="jpeg", quality=98, icc_profile=profile)
    image, _ = sent(data)
    assert image.data == data
