"""Programs that build and check this repository. None of them is deployed."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The root of the checkout."""
