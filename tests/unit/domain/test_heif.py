"""AVIF and HEIC as init images: which become JPEGs, in a process that has bounds."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from sd3.domain import heif
from sd3.domain.colour_profile import rgb_profile
from sd3.domain.heif_decoder import MEMORY_BYTES, jpeg_of
from sd3.domain.image import check_init_image, read_image
from sd3.domain.image_formats import InvalidImageError
from tests.support.factories.heif_files import IN_SRGB, P3, PATCHES, avif, flat_avif, heic
from tests.support.factories.images import SECRET, WHITE


def decoded(data: bytes) -> PillowImage.Image:
    """Decode a file in this process, which takes no time to start."""
    made = jpeg_of(data)
    assert SECRET.encode() not in made
    opened = PillowImage.open(BytesIO(made))
    assert opened.format == "JPEG"
    assert {"exif", "icc_profile"}.isdisjoint(opened.info)
    return opened


def squares(opened: PillowImage.Image) -> list[tuple[int, ...]]:
    """Read the three squares from left to right, or downwards."""
    middles = [(n + 0.5) / 3 for n in range(3)]
    places = [(m, 0.5) if opened.width > opened.height else (0.5, m) for m in middles]
    return [opened.getpixel((int(x * opened.width), int(y * opened.height))) for x, y in places]  # type: ignore[misc]


def near(found: list[tuple[int, ...]], expected: Any, most: int = 3) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(abs(a - b) <= most for one, two in pairs for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (heic(), PATCHES),
        (heic(profile=rgb_profile(P3)), IN_SRGB),
        (heic(primaries=12), IN_SRGB),
        (heic(profile=b"no profile"), PATCHES),
        (avif(), PATCHES),
        (avif(profile=rgb_profile(P3)), IN_SRGB),
        (avif(mode="RGBA", colours=((9, 9, 9, 0), (9, 9, 9, 255), (0, 0, 0, 0))),
         (WHITE, (9, 9, 9), WHITE)),
        (avif(mode="L", colours=((40,), (120,), (200,))),
         ((40, 40, 40), (120, 120, 120), (200, 200, 200))),
    ],
    ids=["HEIC", "HEIC with a profile", "HEIC of P3", "no profile", "AVIF", "AVIF with a profile",
         "transparent AVIF", "grey AVIF"],
)  # fmt: skip
def test_a_photo_becomes_a_jpeg_of_the_colours_that_a_viewer_shows(
    data: bytes, expected: Any
) -> None:
    assert near(squares(decoded(data)), expected)


def test_a_clients_photo_becomes_a_jpeg_and_each_time_the_same() -> None:
    """Else a call that is repeated with its key would be another request."""
    image = check_init_image(heic(tiles=(2, 2), size=(300, 100)))
    assert image == read_image(image.data)
    assert image[1:] == ("image/jpeg", 300, 100)
    assert image.data == jpeg_of(heic(tiles=(2, 2), size=(300, 100)))


@pytest.mark.parametrize(
    ("data", "upright"),
    [
        (heic(orientation=6), True),
        (heic(turns=3, orientation=6), False),
        (heic(turns=1, orientation=6), None),
        (avif(orientation=6), False),
        (avif(orientation=8), None),
        (avif(orientation=1), True),
    ],
)
def test_a_photo_is_turned_once(data: bytes, upright: bool | None) -> None:
    """By HEIF's own property. EXIF says the same in a phone's file, and counts for nothing."""
    image = decoded(data)
    assert (image.width > image.height) == (upright is True)
    expected = PATCHES[::-1] if upright is None else PATCHES
    assert near(squares(image), expected)


def test_a_photo_of_tiles_is_put_together_and_cut() -> None:
    opened = decoded(heic(tiles=(2, 2), size=(300, 100)))
    assert opened.size == (300, 100)
    found = [opened.getpixel(at) for at in ((32, 90), (160, 50), (224, 50), (290, 90))]
    assert near(found, [PATCHES[0], PATCHES[2], PATCHES[0], PATCHES[1]])  # type: ignore[arg-type]


def test_no_more_pixels_are_kept_than_a_request_needs() -> None:
    assert decoded(flat_avif(4096, 2048)).size == (3072, 1536)
    assert decoded(flat_avif(2048, 1536)).size == (2048, 1536)


@pytest.mark.parametrize("data", [heic(size=(4097, 64)), heic(size=(16_384, 16_384)),
                                  heic(size=(192, 63)), flat_avif(64, 63)])  # fmt: skip
def test_an_image_of_wrong_sides_is_not_decoded(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", _never)
    with pytest.raises(InvalidImageError, match="64 to 4096 pixels a side"):
        check_init_image(data)


def _never(*_: object, **__: object) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "data",
    [
        heic(size=(4096, 4096)),
        heic(size=(64, 64)),
        heic(tiles=(4, 4), size=(4096, 4096)),
        heic(tiles=(40, 40), size=(4096, 2560)),
        heic().replace(b"hvc1", b"av01"),
        heic().replace(b"hvcC", b"free"),
        flat_avif(128, 128)[:-9] + b"\xff" * 9,
        flat_avif(128, 128).replace(b"av01", b"hvc1"),
    ],
    ids=["other size than said", "cut by its header", "fewer tiles than said", "too many tiles",
         "another codec", "HEIC without settings", "AVIF of nonsense", "AVIF of another codec"],
)  # fmt: skip
def test_what_cannot_be_decoded_is_no_init_image(data: bytes) -> None:
    """Whatever the decoders raise, their process then ends with a status."""
    with pytest.raises((ValueError, LookupError, EOFError, OSError, RuntimeError, SyntaxError)):
        jpeg_of(data)


def test_what_ends_the_process_is_no_init_image() -> None:
    with pytest.raises(InvalidImageError, match="damaged, or of a kind that cannot be decoded"):
        check_init_image(heic(size=(4096, 4096)))


def decoded_with(data: bytes, memory: int) -> bool:
    """Decode a file in a process of so much memory; return whether that is enough."""
    code = (
        f"import sd3.domain.heif_decoder as program;program.MEMORY_BYTES = {memory}; program.main()"
    )
    environ = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, input=data, env=environ, capture_output=True, check=False)  # noqa: S603
    return ran.returncode == 0 and len(ran.stdout) > 0


def test_the_memory_of_a_file_is_bounded_and_the_largest_image_has_room() -> None:
    """A file of less than 2 kB can hold many gigabytes of one colour."""
    largest = flat_avif(4096, 4096, mode="RGBA")
    assert len(largest) < 2000
    assert decoded_with(largest, MEMORY_BYTES * 3 // 4)
    assert not decoded_with(largest, MEMORY_BYTES // 4)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Return what replaces the process by a result or an error, and records its options."""

    def replace(result: Any) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []

        def run(command: list[str], **options: Any) -> Any:
            seen.append(options)
            if isinstance(result, Exception):
                raise result
            return subprocess.CompletedProcess(command, *result)

        monkeypatch.setattr(subprocess, "run", run)
        return seen

    return replace


@pytest.mark.parametrize(
    "result", [subprocess.TimeoutExpired("decoder", 20), (-9, b"", b""), (1, b"", b""), (0, b"")]
)
def test_a_file_that_exceeds_the_bounds_is_the_clients_error(ran: Any, result: Any) -> None:
    ran(result)
    with pytest.raises(InvalidImageError, match="cannot be decoded"):
        heif.decode_heif(heic())


def test_the_process_knows_no_credentials(ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (options,) = [ran((0, b"a JPEG", b""))]
    heif.decode_heif(b"")
    assert "secret" not in options[0]["env"].values()
    assert options[0]["timeout"] < 29


def test_the_decoders_are_imported_for_such_a_file_only() -> None:
    code = (
        "import sys, sd3.domain.request, sd3.upstreams.init_image;"
        "from sd3.domain.image import check_init_image;"
        "from tests.support.factories.images import png;"
        "check_init_image(png());"
        "print({'pillow_heif', 'PIL.ImageCms', 'sd3.domain.heif'} & {*sys.modules})"
    )
    environ = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environ, capture_output=True, check=True)  # noqa: S603
    assert found.stdout == b"set()\n"


@settings(deadline=None, max_examples=8)
@given(st.data())
def test_any_damage_gives_an_image_or_an_image_error(draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from([heic(), heic(tiles=(2, 1), size=(384, 64)), avif()]))
    position = draw.draw(st.integers(0, len(data) - 1))
    new = draw.draw(st.binary(min_size=1, max_size=4))
    with suppress(InvalidImageError):
        check_init_image(data[:position] + new + data[position + len(new) :])
