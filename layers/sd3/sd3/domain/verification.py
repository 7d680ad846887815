"""The verification of an image: what a file says of its origin, and what of that is ours."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from sd3.domain.image import read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.provenance import SOURCE_TYPES, Mark, source_type_in
from sd3.domain.xmp import read_marks, strip

AI_SOURCE_TYPES: Final = frozenset(
    ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia",
     "compositeSynthetic")
)  # fmt: skip
"""The terms of IPTC for what AI or an algorithm has made, or has made a part of."""

MAX_PACKET: Final = 262_144
"""As much of a packet is read. Ours have at most the 65,533 bytes that a JPEG has room for."""


class Verification(NamedTuple):
    """What was found in a file. Anybody can write the first two into any file."""

    source_type: str | None
    """The term of IPTC that the file names, if it is a term."""
    has_c2pa: bool
    """Whether it has a C2PA manifest. Whether that is valid is not looked at."""
    mark: Mark | None = None
    """What this service has signed, if the signature is its own."""
    bytes: Literal["exact", "altered"] | None = None
    """Whether the file is the one that was signed."""

    @property
    def is_marked(self) -> bool:
        """Whether the file says in any way that AI or an algorithm has made it."""
        return self.source_type in AI_SOURCE_TYPES or self.has_c2pa or self.mark is not None


def verify(data: bytes, secrets: Callable[[], Sequence[bytes]]) -> Verification:
    """Look for marks in a file. Raises InvalidImageError for what is no complete image.

    A signature is about the packet that has it. The packet names the SHA-256 of the file that it
    was put into, so in any other file the bytes are altered. They are as well if the packet names
    another type than the one that was signed. Without a mark, `secrets` is not called.
    """
    content_type = read_image(data).content_type
    try:
        packet, has_c2pa = read_marks(data, content_type)
        packet = packet[:MAX_PACKET]
        original = strip(data, content_type)
    except KeyError as error:
        raise InvalidImageError("only PNG, JPEG and WebP can be verified") from error
    source_type = _term(source_type_in(packet))
    mark = Mark.read(packet)
    if mark is None or not mark.is_signed_by(secrets()):
        return Verification(source_type, has_c2pa)
    found = source_type, hashlib.sha256(original).hexdigest()
    is_exact = found == (mark.source_type, mark.original)
    return Verification(mark.source_type, has_c2pa, mark, "exact" if is_exact else "altered")


def _term(text: str | None) -> str | None:
    """Return the last part of the URL of one of IPTC's terms; None for any other text."""
    url = (text or "").replace("https://", "http://", 1)
    term = url.removeprefix(SOURCE_TYPES)
    return term if term != url and term.isascii() and term.isalpha() else None
