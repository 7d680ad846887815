"""Words in a prompt that act like the safety filter of a real engine."""

import re
from typing import Final

_FORBIDDEN: Final = re.compile(r"(?<![\w-])sketch-forbidden(?![\w-])", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"(?<![\w-])sketch-unsafe(?:-([0-9]{1,2}))?(?![\w-])", re.IGNORECASE)


def is_forbidden(prompt: str) -> bool:
    """Return whether the prompt holds the word `sketch-forbidden`."""
    return _FORBIDDEN.search(prompt) is not None


def find_unsafe_images(prompt: str, count: int) -> set[int]:
    """Return the indexes of the images to remove, out of `count`, counted from 0.

    `sketch-unsafe` removes all of them, `sketch-unsafe-2` only the one at index 2.
    """
    unsafe: set[int] = set()
    for index in _UNSAFE.findall(prompt):
        unsafe |= {int(index)} if index else set(range(count))
    return unsafe & set(range(count))
