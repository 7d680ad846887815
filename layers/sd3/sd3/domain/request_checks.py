"""The checks of a request that its types cannot make: texts, and fields against each other."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sd3.errors import FieldError

SIZES: Final = (
    (1536, 640), (768, 1344), (832, 1216), (1344, 768), (1152, 896),
    (640, 1536), (1216, 832), (896, 1152), (1024, 1024),
)  # fmt: skip

_SIZES_TEXT: Final = ", ".join(f"{width}x{height}" for width, height in SIZES)

MAX_IMAGES: Final = 16

INIT_IMAGES: Final = ("init_image", "init_image_id", "init_image_url")
"""The fields of which one at most names the init image."""

OTHER_MODELS_FIELDS: Final = frozenset(
    ("sampler", "style_preset", "loras", "mask_image", "checkpoint", "vae", "clip_skip",
     "prompt_2", "negative_prompt_2", "use_refiner", "high_noise_frac", "outpainting",
     "textual_inversions", "transfer_images")
)  # fmt: skip

OTHER_MODELS_PREFIXES: Final = ("controlnet", "inpaint_")
"""Fields of OctoAI's other models. Its SDK can send them as null, so null is no error."""

VISIBLE: Final = (
    "[^\\s\0-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""A pattern of a character that shows something: no white space, no control character, none of
those that Unicode calls ignorable by default, and no blank letter. A schema can hold it."""

LOST: Final = "\ufffd"
"""What decoders write in place of bytes that are not UTF-8."""


def is_of_other_models(name: str) -> bool:
    """Return whether a field is one of OctoAI's other models."""
    return name in OTHER_MODELS_FIELDS or name.startswith(OTHER_MODELS_PREFIXES)


def errors_of_texts(values: Mapping[str, Any], wrong: set[str | int]) -> Iterator[FieldError]:
    """Refuse texts with which an upstream would generate, for money, what nobody asked for.

    The model itself accepts them: jobs that were stored before this check have to be read.
    """
    for name in ("prompt", "negative_prompt"):
        text = values.get(name) if name not in wrong else None
        if text and LOST in text:
            msg = "has U+FFFD in place of characters that were lost: the body was not UTF-8"
            yield body_error((name,), msg, "not_utf8")
        elif text and name == "prompt" and not re.search(VISIBLE, text):
            yield body_error((name,), "should have a visible character", "blank")


def errors_between_fields(
    values: Mapping[str, Any], wrong: set[str | int], max_images: int
) -> Iterator[FieldError]:
    """Check fields against each other and the client's limit, if each is right by itself."""
    size = (values.get("width", 1024), values.get("height", 1024))
    if not wrong & {"width", "height"} and size not in SIZES:
        field = "height" if size[0] in {width for width, _ in SIZES} else "width"
        yield body_error((field,), f"width x height should be one of {_SIZES_TEXT}", "size")
    seed, count = values.get("seed"), values.get("num_images", 1)
    if "num_images" not in wrong and count > max_images:
        msg = f"Input should be less than or equal to {max_images} for this client"
        yield body_error(("num_images",), msg, "less_than_equal")
    if not wrong & {"seed", "num_images"} and isinstance(seed, list) and len(seed) != count:
        yield body_error(
            ("seed",), f"a list should have num_images ({int(count)}) entries", "seed_count"
        )
    images = [name for name in INIT_IMAGES if values.get(name) is not None and name not in wrong]
    for name in images[1:]:
        yield body_error((name,), f"not together with {images[0]}", name)
    if values.get("webhook") is not None and values.get("dry_run") and "webhook" not in wrong:
        yield body_error(("webhook",), "not together with dry_run, which makes no job", "webhook")


def body_error(loc: tuple[str | int, ...], msg: str, kind: str) -> FieldError:
    """Make the error of a field of the body, from its place in the body."""
    if loc[:1] == ("seed",):
        loc = loc[:1] + loc[2:]  # without the union's tag
    shown = (part[:64] if isinstance(part, str) else part for part in loc)
    return FieldError(("body", *shown), msg, kind)
