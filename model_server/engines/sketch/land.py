"""The land: ridges from far to near, trees, houses and flowers, and water that mirrors them."""

import math
from random import Random
from typing import NamedTuple

from PIL import Image

from model_server.engines.sketch.canvas import Canvas
from model_server.engines.sketch.palette import Colour, mix

_POINTS = 220


class Ridge(NamedTuple):
    """A line of hills: its y in pixels at evenly spaced points, and `near` from 0 to 1."""

    line: list[float]
    colour: Colour
    near: float
    base: float
    """The mean y of the line; on a shore, the y of the water."""

    def at(self, share: float) -> float:
        """Return the ridge's y at `share` (0 to 1) of the width."""
        return self.line[round(share * _POINTS)]


def paint_land(canvas: Canvas) -> None:
    """Paint the land over the sky, from the horizon to the lower edge."""
    rng = canvas.motif.rng("land")
    count = rng.randrange(4, 7)
    shore = rng.randrange(2, count - 1) if "water" in canvas.features else None
    for index in range(count):
        _paint_ridge(canvas, _shape_ridge(canvas, rng, index / (count - 1)), index)
        if index == shore:
            _paint_water(canvas, canvas.motif.rng("water"), index / (count - 1))


def _shape_ridge(canvas: Canvas, rng: Random, near: float) -> Ridge:
    base = canvas.horizon + (canvas.height - canvas.horizon) * near * 0.78
    peaks = "peaks" in canvas.features and near < 0.5
    swing = canvas.unit * (rng.uniform(9, 16) if peaks else rng.uniform(3, 7)) * (1 - 0.35 * near)
    octaves = [(rng.uniform(0.8, 1.6) * 2**n, rng.random() * math.tau, 0.52**n) for n in range(7)][
        : 1 + round(6 * canvas.detail)
    ]
    stretch = canvas.width / canvas.unit / 100 * math.tau
    line = []
    for point in range(_POINTS + 1):
        x = point / _POINTS * stretch
        waves = (weight * _wave(rate * x + phase, peaks) for rate, phase, weight in octaves)
        line.append(base - swing * sum(waves))
    colour = mix(canvas.palette.far, canvas.palette.near, near**0.8)
    return Ridge(line, mix(canvas.palette.horizon, colour, 0.55 + 0.45 * near), near, base)


def _wave(angle: float, peaks: bool) -> float:
    return 1.4 - 2.2 * abs(math.sin(angle / 2)) if peaks else math.sin(angle)


def _paint_ridge(canvas: Canvas, ridge: Ridge, index: int) -> None:
    lowest = 0.5 if "peaks" in canvas.features else 0.3  # no house stands on a rock face
    if "houses" in canvas.features and lowest <= ridge.near < 0.9:
        _paint_houses(canvas, ridge, canvas.motif.rng(f"houses {index}"))
    if "trees" in canvas.features and ridge.near > 0.15:
        _paint_trees(canvas, ridge, canvas.motif.rng(f"trees {index}"))
    step = canvas.width / _POINTS
    line = [(point * step, y) for point, y in enumerate(ridge.line)]
    canvas.pen.polygon(
        [(0, canvas.height), *line, (canvas.width, canvas.height)], fill=ridge.colour
    )
    lit = (*mix(ridge.colour, canvas.palette.light, 0.45), 150)
    canvas.glaze.line(line, fill=lit, width=max(2, round(0.22 * canvas.unit)))
    if "flowers" in canvas.features and ridge.near > 0.6:
        _paint_flowers(canvas, ridge, canvas.motif.rng(f"flowers {index}"))


def _paint_trees(canvas: Canvas, ridge: Ridge, rng: Random) -> None:
    size = canvas.unit * (1.2 + 6.5 * ridge.near)
    colour = mix(ridge.colour, canvas.palette.near, 0.35)
    groves = [rng.random() for _ in range(3)]
    for _ in range(canvas.count(round(60 - 34 * ridge.near))):
        share = min(1.0, max(0.0, rng.gauss(rng.choice(groves), 0.09)))
        x, foot = share * canvas.width, ridge.at(share) + 0.2 * size
        tall = size * rng.uniform(0.7, 1.3)
        shade = mix(colour, ridge.colour, rng.random() * 0.5)
        for tier in range(3):
            half = tall * 0.26 * (1 - 0.24 * tier)
            low = foot - tall * 0.27 * tier
            canvas.pen.polygon(
                [(x - half, low), (x, low - tall * 0.52), (x + half, low)], fill=shade
            )


def _paint_houses(canvas: Canvas, ridge: Ridge, rng: Random) -> None:
    dry = [point / _POINTS for point, y in enumerate(ridge.line) if y < ridge.base]
    if not dry:
        return
    centre = rng.choice(dry)
    for _ in range(canvas.count(9)):
        share = min(1.0, max(0.0, rng.gauss(centre, 0.08)))
        wide, tall = (canvas.unit * (1.4 + 2.2 * ridge.near) * rng.uniform(0.8, 1.5) for _ in "wh")
        if ridge.at(share) > ridge.base:
            continue
        x, top = share * canvas.width, ridge.at(share) - tall
        foot = ridge.at(share) + 3 * canvas.unit  # the ridge is painted over it
        wall = mix(ridge.colour, canvas.palette.horizon, rng.uniform(0.25, 0.5))
        roof = mix(canvas.palette.accent, canvas.palette.near, rng.uniform(0.2, 0.6))
        canvas.pen.rectangle((x - wide / 2, top, x + wide / 2, foot), fill=wall)
        eaves = wide * 0.62
        canvas.pen.polygon([(x - eaves, top), (x, top - wide * 0.6), (x + eaves, top)], fill=roof)
        pane = wide * 0.13
        for side in (-0.24, 0.24):
            left, upper = x + side * wide - pane / 2, top + tall * 0.25
            canvas.pen.rectangle(
                (left, upper, left + pane, upper + 1.4 * pane), fill=canvas.palette.light
            )


def _paint_flowers(canvas: Canvas, ridge: Ridge, rng: Random) -> None:
    colours = (canvas.palette.accent, canvas.palette.light, canvas.palette.middle)
    for _ in range(canvas.count(320)):
        share = rng.random()
        x = share * canvas.width
        y = ridge.at(share) + rng.random() ** 1.5 * 0.3 * canvas.height
        radius = canvas.unit * rng.uniform(0.1, 0.34) * (0.6 + ridge.near * 0.6)
        colour = (*rng.choice(colours), rng.randrange(150, 255))
        canvas.glaze.ellipse((x - radius, y - radius, x + radius, y + 0.8 * radius), fill=colour)


def _paint_water(canvas: Canvas, rng: Random, near: float) -> None:
    shore = round(canvas.horizon + (canvas.height - canvas.horizon) * near * 0.78)
    depth = canvas.height - shore
    above = canvas.image.crop((0, shore - depth, canvas.width, shore))
    mirror = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    deep = mix(canvas.palette.zenith, canvas.palette.near, 0.35)
    veil = Image.new("RGB", mirror.size, deep)
    canvas.image.paste(Image.blend(mirror, veil, 0.3), (0, shore))
    for _ in range(canvas.count(260)):
        away = rng.random() ** 1.6
        y = shore + away * depth
        x = rng.gauss(canvas.light_at[0], canvas.width * (0.05 + 0.3 * rng.random()))
        half = canvas.unit * (0.6 + 5 * away) * rng.uniform(0.5, 1.4)
        colour = rng.choice((canvas.palette.light, canvas.palette.horizon, canvas.palette.middle))
        thick = max(2, round(canvas.unit * (0.08 + 0.22 * away)))
        canvas.glaze.line((x - half, y, x + half, y), fill=(*colour, 110), width=thick)
