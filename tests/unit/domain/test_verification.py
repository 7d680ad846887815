"""The verification of images: our own marks, those of others, and what pretends to be one."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from struct import pack
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sd3.domain.image_formats import InvalidImageError
from sd3.domain.provenance import SOURCE_TYPES, TRAINED, Facts, packet_of
from sd3.domain.verification import Verification, verify
from sd3.domain.xmp import embed, read_marks
from tests.support.factories.images import (
    chunk,
    exif,
    jpeg,
    png,
    png_of,
    segment,
    webp,
    with_segments,
)

SECRET: Final = b"s" * 64
FILES: Final = {"image/png": png(), "image/jpeg": jpeg(quality=95), "image/webp": webp()}
FACTS: Final = Facts(
    job_id="c6Af9ESmIAMEbxg",
    index=3,
    client_id="ann",
    seed=7,
    created_at=datetime(2026, 11, 27, tzinfo=UTC),
    source_type=TRAINED,
)
each_format: Final = pytest.mark.parametrize("content_type", FILES)


def packet(original: bytes, *, secret: bytes = SECRET) -> bytes:
    return packet_of(FACTS, original, secret)


def marked(content_type: str = "image/png", *, secret: bytes = SECRET) -> bytes:
    data = FILES[content_type]
    return embed(data, content_type, packet(data, secret=secret))


def foreign(text: str, content_type: str = "image/png") -> bytes:
    """Make a file with an XMP packet of another program."""
    return embed(FILES[content_type], content_type, text.encode())


def verified(data: bytes, secrets: Sequence[bytes] = (SECRET,)) -> Verification:
    return verify(data, lambda: secrets)


def is_ours(found: Verification) -> bool:
    return found.mark is not None


@each_format
def test_a_file_as_it_was_generated_is_exact(content_type: str) -> None:
    found = verified(marked(content_type))
    assert (found.bytes, found.source_type, found.is_marked) == ("exact", TRAINED, True)
    assert found.mark is not None
    assert (found.mark.job, found.mark.index, found.mark.seed) == ("c6Af9ESmIAMEbxg", "3", "7")
    assert found.mark.is_of("ann", [SECRET])
    assert not found.mark.is_of("bob", [SECRET])


@each_format
def test_a_file_with_another_pixel_is_altered(content_type: str) -> None:
    other, middle = bytearray(marked(content_type)), len(FILES[content_type]) // 2
    # A packet is at the end of a WebP, and in front of the pixels elsewhere.
    other[middle if content_type == "image/webp" else -middle] ^= 1
    found = verified(bytes(other))
    assert (is_ours(found), found.bytes) == (True, "altered")


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_file_that_was_encoded_anew_with_its_packet_is_altered(kind: str) -> None:
    content_type = f"image/{kind}"
    data = marked(content_type)
    kept = read_marks(data, content_type).packet
    file = BytesIO()
    Image.open(BytesIO(data)).save(file, kind, quality=90, xmp=kept)
    found = verified(file.getvalue())
    assert (is_ours(found), found.bytes) == (True, "altered")


@each_format
def test_a_mark_that_was_copied_into_a_foreign_image_is_altered(content_type: str) -> None:
    copied = embed(FILES[content_type], content_type, packet(b"another image"))
    found = verified(copied)
    assert (is_ours(found), found.bytes) == (True, "altered")


def with_instruction(content_type: str) -> bytes:
    """Make the packet of a file, with an instruction to take out more than was put in."""
    return packet(FILES[content_type]) + b'<?sd3 parameters="1" webp="-1"?>'


def png_that_is_transparent() -> bytes:
    data, text = FILES["image/png"], with_instruction("image/png")
    mark = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text)
    return png_of(data[8:33], mark, chunk(b"tRNS", pack(">HHH", 0, 0, 0)), data[33:])


def jpeg_that_is_turned() -> bytes:
    mark = b"http://ns.adobe.com/xap/1.0/\0" + with_instruction("image/jpeg")
    turn = segment(0xE1, exif(6).tobytes())
    return with_segments(FILES["image/jpeg"], turn, segment(0xE1, mark))


def webp_in_another_canvas() -> bytes:
    data = embed(FILES["image/webp"], "image/webp", packet(FILES["image/webp"]))
    return data[:24] + pack("<I", 999)[:3] + data[27:]


@pytest.mark.parametrize(
    "forge", [png_that_is_transparent, jpeg_that_is_turned, webp_in_another_canvas]
)
def test_nothing_is_taken_out_but_what_was_put_in(forge: Callable[[], bytes]) -> None:
    found = verified(forge())
    assert (is_ours(found), found.bytes) == (True, "altered")


def test_a_second_packet_and_bytes_behind_the_image_are_alterations() -> None:
    twice = embed(marked(), "image/png", b"<x:xmpmeta/>")
    assert verified(twice).bytes != "exact"
    assert verified(marked() + b"x").bytes == "altered"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'sd3:seed="7"', b'sd3:seed="8"'),
        (b'sd3:index="3"', b'sd3:index="03"'),
        (b"c6Af9ESmIAMEbxg", b"c6Af9ESmIAMEbxh"),
        (b'sd3:seed="7"', b'sd3:seed=""'),
        (b'sd3:type="trained', b'sd3:type="'),
        (b"sd3:mark=", b"sd3:merk="),
    ],
)
def test_a_forged_mark_is_not_ours_though_the_file_says_that_it_is_ai_made(
    old: bytes, new: bytes
) -> None:
    data = FILES["image/jpeg"]
    forged = packet(data)
    assert old in forged
    found = verified(embed(data, "image/jpeg", forged.replace(old, new)))
    assert found == Verification(TRAINED, has_c2pa=False)
    assert found.is_marked


def test_a_type_that_differs_from_the_signed_one_is_an_alteration() -> None:
    data = FILES["image/png"]
    changed = packet(data).replace(
        f'{SOURCE_TYPES}{TRAINED}"'.encode(), f'{SOURCE_TYPES}digitalCapture"'.encode()
    )
    found = verified(embed(data, "image/png", changed))
    assert (found.source_type, found.bytes) == (TRAINED, "altered")


def test_any_of_the_secrets_verifies_and_no_other() -> None:
    assert verified(marked(), [b"new" * 20, SECRET]).bytes == "exact"
    assert not is_ours(verified(marked(), [b"new" * 20]))
    assert not is_ours(verified(marked(), []))


@pytest.mark.parametrize(
    ("value", "term", "is_marked"),
    [
        (SOURCE_TYPES + TRAINED, TRAINED, True),
        (
            SOURCE_TYPES.replace("http:", "https:") + "compositeSynthetic",
            "compositeSynthetic",
            True,
        ),
        (SOURCE_TYPES + "digitalCapture", "digitalCapture", False),
        (SOURCE_TYPES, None, False),
        (SOURCE_TYPES + "../../x", None, False),
        ("made by AI", None, False),
    ],
)
@each_format
def test_a_foreign_packet_is_read_for_its_type(
    content_type: str, value: str, term: str | None, is_marked: bool
) -> None:
    for text in (
        f'<x Iptc4xmpExt:DigitalSourceType="{value}"/>',
        f"<Iptc4xmpExt:DigitalSourceType>{value}</Iptc4xmpExt:DigitalSourceType>",
    ):
        found = verified(foreign(text, content_type))
        assert found == Verification(term, has_c2pa=False)
        assert found.is_marked is is_marked


def test_a_c2pa_manifest_is_named_and_counts_as_a_mark() -> None:
    found = verified(with_segments(jpeg(), segment(0xEB, b"JP\0\1\0\0\0\1c2pa")))
    assert (found.has_c2pa, found.is_marked, is_ours(found)) == (True, True, False)


@each_format
def test_an_image_without_a_mark_is_not_marked(content_type: str) -> None:
    assert verified(FILES[content_type]) == Verification(None, has_c2pa=False)


@pytest.mark.parametrize("data", [b"", b"a text", bytes(5_000_000), png()[:-20], b"GIF89a" * 9])
def test_what_is_no_complete_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImageError):
        verified(data)


HOSTILE: Final = (
    '<!DOCTYPE x [<!ENTITY a "' + "a" * 1000 + '"><!ENTITY b "' + "&a;" * 1000 + '">]><x>&b;</x>',
    "sd3:a" + " " * 50_000 + "sd3:mark=",
    "sd3:mark" * 8_000,
    'Iptc4xmpExt:DigitalSourceType="' * 2_000,
    "<x" * 30_000,
)


@pytest.mark.parametrize("text", HOSTILE)
@each_format
def test_a_hostile_packet_says_nothing(content_type: str, text: str) -> None:
    assert not verified(foreign(text[:60_000], content_type)).is_marked


@pytest.mark.parametrize(("before", "term"), [(200_000, TRAINED), (300_000, None)])
def test_a_packet_is_read_up_to_a_length(before: int, term: str | None) -> None:
    text = " " * before + f'<x Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPES}{TRAINED}"/>'
    assert verified(foreign(text)).source_type == term


def refuses_or_answers(data: bytes) -> Verification | None:
    try:
        return verified(data)
    except InvalidImageError:
        return None


@given(st.sampled_from(sorted(FILES)), st.data())
def test_no_change_of_a_file_is_exact_or_an_exception(
    content_type: str, draw: st.DataObject
) -> None:
    data = marked(content_type)
    at = draw.draw(st.integers(0, len(data) - 1))
    cut = draw.draw(st.integers(0, 40))
    new = draw.draw(st.binary(max_size=40))
    changed = data[:at] + new + data[at + cut :]
    found = refuses_or_answers(changed)
    if found and found.bytes == "exact":  # then all that was signed is as it was
        assert _without_unsigned(changed, content_type) == _without_unsigned(data, content_type)


def _without_unsigned(data: bytes, content_type: str) -> tuple[str, ...]:
    text = read_marks(data, content_type).packet.decode(errors="replace")
    return tuple(re.findall('sd3:[a-z]+="([^"]*)"', text))


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBP", b""]),
    st.binary(),
)
def test_any_bytes_are_answered_or_refused(head: bytes, rest: bytes) -> None:
    refuses_or_answers(head + rest)
