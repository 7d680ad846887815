"""Peak memory of a fresh process that handles one request for 16 images."""

from collections.abc import Iterator
from statistics import median

from benchmarks.stage import side, stage
from benchmarks.table import Row

AIM = 0.8
IMAGES = 16


def measure(rounds: int) -> Iterator[Row]:
    """Compare the peaks of resident memory: medians over fresh processes."""
    peaks: dict[str, list[int]] = {"ours": [], "naive": []}
    with stage() as environ:
        for _ in range(rounds):
            for name, seen in peaks.items():
                with side(name, environ) as process:
                    seen.append(process.handle(IMAGES).peak)
    ours, naive = (median(peaks[name]) / 2**20 for name in ("ours", "naive"))
    yield Row(f"peak memory, {IMAGES} images", ours, naive, "MiB", AIM)
