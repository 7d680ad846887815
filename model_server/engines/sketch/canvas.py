"""What every part of a scene is painted on."""

from PIL import Image, ImageDraw

from model_server.engines.sketch.motif import Motif

SUPERSAMPLING = 2
"""Pillow's shapes have no smooth edges: they are drawn at twice the size and reduced."""


class Canvas:
    """A picture at twice its size; `unit` is a hundredth of its mean side, `detail` is 0 to 1."""

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
        self.glaze = ImageDraw.Draw(self.image, "RGBA")  # for colours one can see through: slower

    def many(self, most: int) -> int:
        """Return how many of something to draw at this level of detail: a quarter of `most` up."""
        return max(1, round(most * (0.25 + 0.75 * self.detail)))
