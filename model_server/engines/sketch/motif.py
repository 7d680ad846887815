"""What to draw: read from the prompts' words, and for the rest from their hash and the seed."""

import hashlib
import re
from dataclasses import dataclass
from random import Random
from typing import Final

from model_server.engines.sketch.palette import Palette, pick_palette

MOOD_WORDS: Final = {
    "dawn": "dawn morning sunrise spring misty pastel",
    "day": "day noon summer bright sunny desert autumn beach",
    "dusk": "dusk evening sunset twilight neon fire",
    "night": "night midnight moon moonlit stars space galaxy dark",
}
FEATURES: Final = {
    # name: (how often it is there unasked, the words that ask for it)
    "stars": (0.0, "stars star starry night midnight space galaxy"),
    "sun": (0.85, "sun moon sunset sunrise sunny moonlit"),
    "clouds": (0.55, "cloud clouds cloudy sky storm"),
    "birds": (0.4, "bird birds gull gulls eagle crow crows"),
    "peaks": (0.4, "mountain mountains alps peak peaks cliff cliffs volcano dragon"),
    "water": (0.45, "water lake sea ocean river harbour harbor beach boat ship lighthouse"),
    "trees": (0.6, "tree trees forest wood woods jungle pine pines fox bear"),
    "houses": (0.25, "house houses city town village castle cabin street lighthouse"),
    "snow": (0.0, "snow snowy winter ice blizzard"),
    "flowers": (0.3, "flower flowers meadow garden field spring poppies"),
}


@dataclass(frozen=True)
class Motif:
    """The composition of one picture: its features, its colours, and the source of all chance."""

    features: frozenset[str]
    palette: Palette
    key: bytes
    """Hash of the prompt and the seed."""
    negative_key: bytes
    """Hash of the negative prompt: the way the brush runs."""

    def rng(self, part: str) -> Random:
        """Return the chance of one part, so that no part's drawing moves another's."""
        return chance(self.key, part)


def chance(*parts: bytes | str) -> Random:
    """Return a generator that depends on `parts` only."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return Random(digest.digest())  # noqa: S311 - a drawing, not a secret


def read_motif(prompt: str, negative_prompt: str, seed: int) -> Motif:
    """Choose what to draw; a word of `prompt` asks for a feature, one of the other forbids it."""
    key = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    asked, unwanted = _words(prompt), _words(negative_prompt)
    rng = chance(key, "motif")
    mood = next((m for m, words in MOOD_WORDS.items() if asked & set(words.split())), None)
    mood = mood or rng.choice(sorted(MOOD_WORDS))
    features = {"stars"} if mood == "night" else set()
    for name, (share, text) in FEATURES.items():
        words = set(text.split())
        if rng.random() < share or asked & words:
            features.add(name)
        if unwanted & words:
            features.discard(name)
    return Motif(
        features=frozenset(features),
        palette=pick_palette(mood, rng),
        key=key,
        negative_key=hashlib.sha256(negative_prompt.encode()).digest(),
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))
