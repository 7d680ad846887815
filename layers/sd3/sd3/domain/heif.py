"""AVIF and HEIC of clients, which are decoded in a process of their own."""

import os
import subprocess
import sys
from typing import Final

from sd3.domain.image_formats import InvalidImageError

_SECONDS: Final = 20
"""The longest that a file may take, beside the bound of its CPU. The gateway waits for 29 s."""


_FAILED: Final = "the image is damaged, or of a kind that cannot be decoded"


def decode_heif(data: bytes) -> bytes:
    """Make a JPEG of an AVIF or HEIC: upright, in sRGB, without metadata; see heif_decoder.

    The process gets no credentials of AWS. Raises InvalidImageError for a file that it cannot
    decode within its bounds.
    """
    environ = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        ran = subprocess.run(
            [sys.executable, "-S", "-m", "sd3.domain.heif_decoder"],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidImageError(_FAILED) from error
    if ran.returncode or not ran.stdout:
        raise InvalidImageError(_FAILED)
    return ran.stdout
