"""From base64 or bytes to a checked picture."""

from typing import NamedTuple


class Picture(NamedTuple):
    """A picture whose header was read: its bytes, format and size in pixels."""

    data: bytes
    content_type: str
    width: int
    height: int


def decode_init_image(value: object) -> Picture:
    raise NotImplementedError
