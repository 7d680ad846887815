"""The words of a prompt that stand for what a real engine's safety filter would catch."""

import re
from typing import Final

_FORBIDDEN: Final = re.compile(r"(?<![\w-])sketch-forbidden(?![\w-])", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"(?<![\w-])sketch-unsafe(?:-([0-9]{1,2}))?(?![\w-])", re.IGNORECASE)


def is_forbidden(prompt: str) -> bool:
    """Whether the prompt as a whole is refused: it holds `sketch-forbidden`."""
    return _FORBIDDEN.search(prompt) is not None


def unsafe_pictures(prompt: str, count: int) -> set[int]:
    """Return the pictures to remove, counted from 0.

    `sketch-unsafe` removes all `count` of them, `sketch-unsafe-2` only the one at index 2.
    """
    unsafe: set[int] = set()
    for index in _UNSAFE.findall(prompt):
        unsafe |= {int(index)} if index else set(range(count))
    return unsafe & set(range(count))
