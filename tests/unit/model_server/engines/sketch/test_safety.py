"""The words that act like a safety filter."""

import pytest

from model_server.engines.sketch.safety import find_unsafe_images, is_forbidden


@pytest.mark.parametrize(
    ("prompt", "forbidden"),
    [
        ("a fox", False),
        ("a sketch-forbidden fox", True),
        ("Sketch-Forbidden", True),
        ("sketch-forbiddenness", False),
        ("not-sketch-forbidden", False),
        ("a forbidden sketch", False),
    ],
)
def test_only_the_exact_word_is_forbidden(prompt: str, forbidden: bool) -> None:
    assert is_forbidden(prompt) is forbidden


@pytest.mark.parametrize(
    ("prompt", "removed"),
    [
        ("a fox", set()),
        ("a sketch-unsafe fox", {0, 1, 2, 3}),
        ("SKETCH-UNSAFE-2", {2}),
        ("sketch-unsafe-0, sketch-unsafe-3", {0, 3}),
        ("sketch-unsafe-4", set()),
        ("sketch-unsafe-2nd", set()),
        ("sketch-unsafely", set()),
    ],
)
def test_all_images_are_unsafe_or_only_those_that_are_named(prompt: str, removed: set[int]) -> None:
    assert find_unsafe_images(prompt, 4) == removed
