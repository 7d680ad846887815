"""The sky: its gradient, and the stars, sun, clouds and birds in it."""

import math
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from model_server.engines.sketch.canvas import Canvas
from model_server.engines.sketch.palette import mix

_SHRINK = 8
"""Gradients and clouds have no edges: they are painted small, then enlarged."""


def paint_sky(canvas: Canvas) -> None:
    """Paint the sky, from back to front."""
    _paint_gradient(canvas)
    if "stars" in canvas.features:
        _paint_stars(canvas, canvas.motif.rng("stars"))
    if "sun" in canvas.features:
        _paint_disc(canvas, canvas.motif.rng("sun"))
    if "clouds" in canvas.features:
        _paint_clouds(canvas, canvas.motif.rng("clouds"))
    if "birds" in canvas.features:
        _paint_birds(canvas, canvas.motif.rng("birds"))


def _paint_gradient(canvas: Canvas) -> None:
    # No ridge begins lower than this, so the land covers everything below it.
    bottom = min(canvas.height, round(canvas.horizon + 30 * canvas.unit))
    width, height = canvas.width // _SHRINK, bottom // _SHRINK + 1
    small = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(small)
    zenith, middle, horizon = canvas.palette[:3]
    for y in range(height):
        share = min(1, y * _SHRINK / canvas.horizon) * 2
        colour = mix(zenith, middle, share) if share < 1 else mix(middle, horizon, share - 1)
        pen.line((0, y, width, y), fill=colour)
    if "sun" in canvas.features:
        _paint_glow(canvas, small)
    size = (canvas.width, height * _SHRINK)
    canvas.image.paste(small.resize(size, Image.Resampling.BILINEAR))


def _paint_glow(canvas: Canvas, small: Image.Image) -> None:
    radius = round(52 * canvas.unit / _SHRINK)
    falloff = ImageOps.invert(Image.radial_gradient("L")).resize((2 * radius, 2 * radius))
    # Pillow's gradient is 181 at the middle of an edge, where the glow has to end.
    levels = (max(0, level - 74) / 181 for level in range(256))
    falloff = falloff.point([round(190 * level**1.5) for level in levels])
    x, y = (round(place / _SHRINK) - radius for place in canvas.light_at)
    small.paste(canvas.palette.light, (x, y), falloff)


def _paint_stars(canvas: Canvas, rng: Random) -> None:
    for _ in range(canvas.count(260)):
        x, y = rng.random() * canvas.width, rng.random() ** 1.3 * canvas.horizon
        radius = canvas.unit * rng.choice((0.06, 0.08, 0.1, 0.2))
        light = (*canvas.palette.light, rng.randrange(90, 240))
        canvas.glaze.ellipse((x - radius, y - radius, x + radius, y + radius), fill=light)


def _paint_disc(canvas: Canvas, rng: Random) -> None:
    x, y = canvas.light_at
    radius = canvas.unit * rng.uniform(4.5, 8)
    for ring in range(canvas.count(4), 0, -1):
        wide = radius * (1 + 0.28 * ring)
        canvas.glaze.ellipse(
            (x - wide, y - wide, x + wide, y + wide), fill=(*canvas.palette.light, 26)
        )
    canvas.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=canvas.palette.light)


def _paint_clouds(canvas: Canvas, rng: Random) -> None:
    width, height = canvas.width // _SHRINK, round(canvas.horizon) // _SHRINK
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    unit = canvas.unit / _SHRINK
    for _ in range(rng.randrange(3, 7)):
        x, y = rng.random() * width, rng.uniform(0.12, 0.9) * height
        length = unit * rng.uniform(14, 34)
        density = rng.randrange(90, 200)
        for puff_number in range(22):
            along = rng.gauss(0, 0.4)
            puff = unit * rng.uniform(1.2, 3.6) * math.exp(-along * along)
            centre, base = x + along * length, y - rng.random() * puff
            box = (centre - 1.8 * puff, base - 0.8 * puff, centre + 1.8 * puff, base + 0.8 * puff)
            if puff_number < canvas.count(22):
                pen.ellipse(box, fill=density)
    mask = mask.filter(ImageFilter.GaussianBlur(0.7 * unit))
    colour = mix(canvas.palette.horizon, canvas.palette.light, rng.uniform(0.2, 0.9))
    size = (canvas.width, round(canvas.horizon))
    canvas.image.paste(colour, (0, 0), mask.resize(size, Image.Resampling.BILINEAR))


def _paint_birds(canvas: Canvas, rng: Random) -> None:
    x, y = rng.uniform(0.2, 0.7) * canvas.width, rng.uniform(0.2, 0.6) * canvas.horizon
    colour = (*mix(canvas.palette.near, canvas.palette.far, 0.2), 220)
    for _ in range(canvas.count(11)):
        left = x + rng.gauss(0, 11) * canvas.unit
        top = y + rng.gauss(0, 4) * canvas.unit
        span = canvas.unit * rng.uniform(0.9, 1.9)
        thick = max(2, round(0.16 * canvas.unit))
        for side, start in ((left - span, 300), (left, 180)):
            box = (side, top, side + span, top + 0.7 * span)
            canvas.glaze.arc(box, start - 30, start + 90, fill=colour, width=thick)
