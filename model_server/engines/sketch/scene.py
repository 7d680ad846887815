"""The scene: sky, land and weather, then the brush over all of it."""

import math
from random import Random

from PIL import Image

from model_server.engines.sketch.canvas import SUPERSAMPLING, Canvas
from model_server.engines.sketch.land import paint_land
from model_server.engines.sketch.motif import Motif, chance
from model_server.engines.sketch.sky import paint_sky

_MOST_STEPS = 200
_STROKES_PER_STEP = 9
_SAMPLING = 16
"""A stroke takes the colour of a square of so many pixels under it."""


def paint_scene(motif: Motif, size: tuple[int, int], *, steps: int) -> Image.Image:
    """Paint an RGB picture of `size`; more steps give finer shapes and more strokes."""
    canvas = Canvas(motif, size, detail=math.log(steps) / math.log(_MOST_STEPS))
    paint_sky(canvas)
    paint_land(canvas)
    if "snow" in motif.features:
        _snow(canvas, motif.rng("snow"))
    _brush(canvas, steps)
    return canvas.image.reduce(SUPERSAMPLING)


def _snow(canvas: Canvas, rng: Random) -> None:
    for _ in range(canvas.many(620)):
        x, y = rng.random() * canvas.width, rng.random() * canvas.height
        radius = canvas.unit * rng.choice((0.1, 0.14, 0.2, 0.34))
        flake = (255, 255, 255, rng.randrange(120, 230))
        canvas.glaze.ellipse((x - radius, y - radius, x + radius, y + radius), fill=flake)


def _brush(canvas: Canvas, steps: int) -> None:
    """Lay short strokes along a flow; the negative prompt turns the flow."""
    under = canvas.image.reduce(_SAMPLING)
    levels = under.tobytes()
    rng = chance(canvas.motif.key, canvas.motif.negative_key, "brush")
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
