"""A manifest is taken out of a file. `make test-signing` does it to files that c2pa has signed."""

import pytest

from sd3.domain.c2pa_manifest import without_manifest
from sd3.domain.image_formats import InvalidImageError, read_format
from sd3.domain.xmp import NAMESPACE, embed, strip
from tests.support.factories.images import chunk, jpeg, png, segment, webp, with_segments

PNG, JPEG, WEBP = png(), jpeg(), webp()


def webp_of(*chunks: bytes) -> bytes:
    body = b"WEBP" + WEBP[12:] + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


JUMBF = segment(0xEB, b"JP\0\1\0\0\0\1 c2pa")

MANIFESTS = {
    "png": (PNG[:33] + chunk(b"caBX", b"c2pa") + PNG[33:], PNG),
    "jpeg": (with_segments(JPEG, JUMBF, JUMBF), JPEG),
    "webp": (webp_of(b"C2PA\3\0\0\0abc\0"), WEBP),
    "webp with a chunk behind it": (
        webp_of(b"C2PA\2\0\0\0ab", b"ABCD\0\0\0\0"),
        webp_of(b"ABCD\0\0\0\0"),
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_taken_out_and_nothing_else(name: str) -> None:
    signed, before = MANIFESTS[name]
    content_type, _, _ = read_format(signed)
    assert without_manifest(signed, content_type) == before
    assert without_manifest(before, content_type) == before


def test_a_mark_is_found_whole_below_a_signature_and_a_foreign_file_left_alone() -> None:
    marked = embed(PNG, "image/png", f"<x {NAMESPACE}/>".encode())
    manifest = chunk(b"caBX", b"c2pa")
    assert strip(marked[:33] + manifest + marked[33:], "image/png") == PNG
    foreign = PNG[:33] + manifest + PNG[33:]
    assert strip(foreign, "image/png") == foreign


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_cut_file_is_no_image(name: str) -> None:
    signed, _ = MANIFESTS[name]
    content_type, _, _ = read_format(signed)
    with pytest.raises(InvalidImageError):
        without_manifest(signed[:26], content_type)
