"""A whole scene: sky, land and snow, with brush strokes over them."""

import math
from random import Random

from PIL import Image

from model_server.engines.sketch.canvas import SUPERSAMPLING, Canvas
from model_server.engines.sketch.land import paint_land
from model_server.engines.sketch.motif import Motif, seeded_random
from model_server.engines.sketch.sky import paint_sky

_MAX_STEPS = 200
_STROKES_PER_STEP = 9
_SAMPLING = 16
"""The side in pixels of the square under a stroke, whose mean colour the stroke takes."""


def paint_scene(motif: Motif, size: tuple[int, int], *, steps: int) -> Image.Image:
    """Paint an RGB image of `size`; more steps give finer shapes and more strokes."""
    canvas = Canvas(motif, size, detail=math.log(steps) / math.log(_MAX_STEPS))
    paint_sky(canvas)
    paint_land(canvas)
    if "snow" in motif.features:
        _paint_snow(canvas, motif.rng("snow"))
    _paint_strokes(canvas, steps)
    return canvas.image.reduce(SUPERSAMPLING)


def _paint_snow(canvas: Canvas, rng: Random) -> None:
    for _ in range(canvas.count(620)):
        x, y = rng.random() * canvas.width, rng.random() * canvas.height
        radius = canvas.unit * rng.choice((0.1, 0.14, 0.2, 0.34))
        flake = (255, 255, 255, rng.randrange(120, 230))
        canvas.glaze.ellipse((x - radius, y - radius, x + radius, y + radius), fill=flake)


def _paint_strokes(canvas: Canvas, steps: int) -> None:
    """Paint short strokes along a flow, whose direction depends on the negative prompt."""
    under = canvas.image.reduce(_SAMPLING)
    levels = under.tobytes()
    rng = seeded_random(canvas.motif.key, canvas.motif.negative_key, "brush")
    swirl = [rng.uniform(0.6, 2.2) for _ in range(2)] + [rng.random() * math.tau]
    size = canvas.unit * (0.5 + 1.5 * (1 - canvas.detail))
    for _ in range(60 + _STROKES_PER_STEP * steps):
        x, y = rng.random() * canvas.width, rng.random() * canvas.height
        pixel = 3 * (int(y) // _SAMPLING * under.width + int(x) // _SAMPLING)
        angle = _flow(x / canvas.width, y / canvas.height, swirl)
        length = size * rng.uniform(1, 4)
        dx, dy = math.cos(angle) * length, math.sin(angle) * length * 0.6
        canvas.glaze.line(
            (x - dx, y - dy, x + dx, y + dy),
            fill=_jitter(levels[pixel : pixel + 3], rng),
            width=max(1, round(size * rng.uniform(0.3, 0.9))),
        )


def _flow(x: float, y: float, swirl: list[float]) -> float:
    across, down, phase = swirl
    return 0.9 * math.sin(across * math.tau * x + phase) + 0.7 * math.sin(down * math.tau * y)


def _jitter(colour: bytes, rng: Random) -> tuple[int, int, int, int]:
    shift = rng.randrange(-11, 15)
    red, green, blue = (min(255, max(0, level + shift)) for level in colour)
    return red, green, blue, rng.randrange(25, 80)
