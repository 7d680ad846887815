"""The canvas on which every part of a scene is painted."""

from PIL import Image, ImageDraw

from model_server.engines.sketch.motif import Motif

SUPERSAMPLING = 2
"""Pillow's shapes have no smooth edges: they are painted at twice the size, then reduced."""


class Canvas:
    """An image at twice its size, and what its parts share.

    `unit` is a hundredth of its mean side, `detail` goes from 0 to 1, `light_at` is the place of
    the sun or the moon.
    """

    def __init__(self, motif: Motif, size: tuple[int, int], *, detail: float) -> None:
        self.motif = motif
        self.palette = motif.palette
        self.features = motif.features
        self.detail = detail
        self.width, self.height = (side * SUPERSAMPLING for side in size)
        self.unit = (self.width * self.height) ** 0.5 / 100
        rng = motif.rng("composition")
        self.horizon = self.height * rng.uniform(0.42, 0.58)
        self.light_at = (
            self.width * rng.choice((rng.uniform(0.18, 0.4), rng.uniform(0.6, 0.82))),
            self.horizon * rng.uniform(0.35, 0.85),
        )
        self.image = Image.new("RGB", (self.width, self.height))
        self.pen = ImageDraw.Draw(self.image)
        self.glaze = ImageDraw.Draw(self.image, "RGBA")  # for translucent colours: slower

    def count(self, maximum: int) -> int:
        """Return how many of something to paint: a quarter of `maximum`, or more with `detail`."""
        return max(1, round(maximum * (0.25 + 0.75 * self.detail)))
