"""The words that stand for what a safety filter would catch."""

import pytest

from model_server.engines.sketch.safety import is_forbidden, unsafe_pictures


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
def test_only_the_very_word_is_forbidden(prompt: str, forbidden: bool) -> None:
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
def test_unsafe_pictures_are_all_or_the_ones_that_are_named(prompt: str, removed: set[int]) -> None:
    assert unsafe_pictures(prompt, 4) == removed
