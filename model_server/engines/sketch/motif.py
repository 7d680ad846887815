"""The motif of an image: chosen by the words of the prompts, then by their hash and the seed."""

import hashlib
import re
from dataclasses import dataclass
from random import Random
from typing import Final

from model_server.engines.sketch.palette import Palette, choose_palette

TIMES_OF_DAY: Final = {
    "dawn": "dawn morning sunrise spring misty pastel",
    "day": "day noon summer bright sunny desert autumn beach",
    "dusk": "dusk evening sunset twilight neon fire",
    "night": "night midnight moon moonlit stars space galaxy dark",
}
FEATURES: Final = {
    # name: (its probability without such a word, the words that ask for it)
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
    """The features and colours of one image, and the keys of its random numbers."""

    features: frozenset[str]
    palette: Palette
    key: bytes
    """The hash of prompt and seed."""
    negative_key: bytes
    """The hash of the negative prompt, which directs the brush strokes."""

    def rng(self, part: str) -> Random:
        """Return the random numbers of one part, which do not depend on the other parts."""
        return seeded_random(self.key, part)


def seeded_random(*parts: bytes | str) -> Random:
    """Return random numbers that depend on `parts` only."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return Random(digest.digest())  # noqa: S311 - for an image, not a secret


def choose_motif(prompt: str, negative_prompt: str, seed: int) -> Motif:
    """Choose the motif; a word of `prompt` adds a feature, one of `negative_prompt` removes it."""
    key = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    wanted, unwanted = _words(prompt), _words(negative_prompt)
    rng = seeded_random(key, "motif")
    named = (name for name, words in TIMES_OF_DAY.items() if wanted & set(words.split()))
    time_of_day = next(named, None) or rng.choice(sorted(TIMES_OF_DAY))
    features = {"stars"} if time_of_day == "night" else set()
    for name, (probability, text) in FEATURES.items():
        words = set(text.split())
        if rng.random() < probability or wanted & words:
            features.add(name)
        if unwanted & words:
            features.discard(name)
    return Motif(
        features=frozenset(features),
        palette=choose_palette(time_of_day, rng),
        key=key,
        negative_key=hashlib.sha256(negative_prompt.encode()).digest(),
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))
