"""Texts that are sent once and must not appear in any log, in whatever form."""

import re
from base64 import b64encode
from collections.abc import Iterator
from secrets import token_hex
from typing import Final

PATTERNS: Final = {
    "a token": re.compile(r"sd3_[A-Za-z0-9_-]{43}"),
    "a JWT": re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"),
    "an Authorization header": re.compile(r"bearer\s+\S{8,}", re.IGNORECASE),
    "a webhook's secret": re.compile(r"whsec_[A-Za-z0-9+/]{16}"),
    "a signed link": re.compile(r"x-amz-(signature|credential|security-token)", re.IGNORECASE),
    "base64 of something large": re.compile(r"[A-Za-z0-9+/_-]{256}"),
    "a validation error's text": re.compile(r"input_value="),
}
"""What no log may contain, whoever sent it."""


class Canaries:
    """Texts by where each was sent."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def new(self, where: str) -> str:
        """Make a unique text that would break a log's line."""
        return self.keep(where, f'fox {token_hex(12)}"}}\n{{"é": "{token_hex(12)}')

    def word(self, where: str) -> str:
        """Make a text that is valid in a header, a URL or a name."""
        return self.keep(where, f"fox-{token_hex(12)}")

    def keep(self, where: str, text: str) -> str:
        """Remember a given text, such as a token."""
        self.said[where] = text
        return text

    def found(self, log: str) -> list[str]:
        """Find the texts in `log`, by where they were sent, and other forbidden contents."""
        log = f"{log}\n{log.lower()}"
        said = [where for where, text in self.said.items() if any(f in log for f in forms(text))]
        return said + [what for what, pattern in PATTERNS.items() if pattern.search(log)]


def forms(text: str) -> Iterator[str]:
    """Return the text as it is, in JSON, in a URL and in base64, in searchable parts.

    JSON and URLs leave letters and digits alone, so that its long words are enough. In base64 a
    word looks in three ways, by where it begins, but for the letters that it shares.
    """
    for word in re.findall(r"[A-Za-z0-9_-]{16,}", text):
        yield word
        for lead in range(3):
            yield b64encode(bytes(lead) + word.encode()).decode().rstrip("=")[4:-4]
