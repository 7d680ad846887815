"""The names of the contract's nine sizes, for callers who choose by aspect ratio."""

from types import MappingProxyType
from typing import Final

ASPECT_RATIOS: Final = MappingProxyType({
    (1024, 1024): "1:1", (1344, 768): "16:9", (768, 1344): "9:16",
    (1536, 640): "21:9", (640, 1536): "9:21", (1216, 832): "3:2",
    (832, 1216): "2:3", (1152, 896): "5:4", (896, 1152): "4:5",
})  # fmt: skip
"""Stability's names of aspect ratios by size. The images have about one megapixel."""
