"""Batches drawn and timed by the engine itself, and what they took written as a table."""

import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.engine import DiffusersEngine

SIDE = 1024
_PROMPT = "a village by a mountain lake at dusk, snow on the roofs, " * 8
"""Long enough to fill what the text encoders read."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`seconds` is the median time of `pictures` asked for together, `drawn_at_once` at a time."""

    pictures: int
    drawn_at_once: int
    seconds: float
    memory_bytes: int


def time_batch(engine: DiffusersEngine, pictures: int, *, steps: int, rounds: int) -> Speed:
    """Draw so many pictures once to warm up, then `rounds` times; text-to-image, 1024x1024."""
    request = GenerateRequest(prompt=_PROMPT, steps=steps, width=SIDE, height=SIDE)
    engine.batches.largest = pictures
    cuda = torch.cuda.is_available()

    def draw() -> float:
        started = time.perf_counter()
        # A picture that was handed out is in the CPU's memory: the GPU is done with it.
        list(engine.draw(request, seeds=range(1, pictures + 1), init_image=None))
        return time.perf_counter() - started

    draw()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(draw() for _ in range(rounds))
    return Speed(
        pictures=pictures,
        drawn_at_once=engine.batches.largest,
        seconds=seconds,
        memory_bytes=torch.cuda.max_memory_allocated() if cuda else _resident_peak(),
    )


def _resident_peak() -> int:
    """The process's, since its start."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def write_table(speeds: Sequence[Speed], *, flops: int, peak_tflops: float | None) -> str:
    """Return rows of Markdown; `flops` is one picture's, without `peak_tflops` no share is told."""
    lines = [
        "| pictures | at once | s | pictures/s | peak memory, GiB | TFLOP/s | share of peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for speed in speeds:
        rate = speed.pictures / speed.seconds
        tflops = rate * flops / 1e12
        cells = (
            str(speed.pictures),
            str(speed.drawn_at_once),
            f"{speed.seconds:.2f}",
            f"{rate:.3f}",
            f"{speed.memory_bytes / 2**30:.1f}",
            f"{tflops:.4g}",
            f"{tflops / peak_tflops:.1%}" if peak_tflops else "unknown",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
