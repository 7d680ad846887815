"""The palettes: colours that go together, for each time of day."""

import colorsys
from random import Random
from typing import Final, NamedTuple

Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """The sky from the zenith down, its light, the land from far to near, and an accent."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    light: Colour
    far: Colour
    near: Colour
    accent: Colour


PALETTES: Final[dict[str, tuple[Palette, ...]]] = {
    "dawn": (
        Palette((78, 84, 150), (222, 148, 158), (255, 214, 170), (255, 240, 204),
                (176, 138, 164), (58, 44, 78), (255, 138, 101)),
        Palette((64, 116, 140), (160, 196, 186), (252, 226, 180), (255, 246, 214),
                (150, 178, 164), (34, 66, 68), (238, 108, 77)),
    ),
    "day": (
        Palette((58, 126, 192), (132, 190, 224), (232, 240, 226), (255, 250, 222),
                (128, 172, 178), (28, 78, 64), (236, 96, 72)),
        Palette((98, 134, 168), (206, 204, 186), (250, 228, 180), (255, 244, 206),
                (206, 156, 98), (92, 46, 30), (206, 62, 38)),
    ),
    "dusk": (
        Palette((40, 32, 84), (178, 64, 108), (255, 162, 88), (255, 226, 138),
                (132, 64, 104), (30, 18, 48), (255, 96, 92)),
        Palette((26, 48, 86), (122, 84, 138), (246, 150, 120), (255, 214, 160),
                (92, 74, 122), (20, 22, 50), (255, 186, 92)),
    ),
    "night": (
        Palette((8, 12, 36), (22, 42, 90), (72, 102, 150), (240, 240, 222),
                (42, 62, 110), (6, 10, 28), (250, 204, 116)),
        Palette((10, 22, 34), (18, 62, 78), (76, 140, 136), (236, 246, 226),
                (32, 84, 92), (4, 16, 24), (255, 170, 110)),
    ),
}  # fmt: skip


def choose_palette(time_of_day: str, rng: Random) -> Palette:
    """Choose a palette of `time_of_day` and shift its hues a little."""
    palette = rng.choice(PALETTES[time_of_day])
    shift = rng.uniform(-0.035, 0.035)
    return Palette(*(_shift_hue(colour, shift) for colour in palette))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that is `share` (0 to 1) of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shift_hue(colour: Colour, shift: float) -> Colour:
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in colour))
    red, green, blue = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
