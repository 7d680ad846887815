"""The throughput of the engine: images generated, timed, and written as a table."""

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
"""Long enough to fill the token limit of every text encoder."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """The median time of a request for `images` images, which ran in batches of `batch_size`."""

    images: int
    batch_size: int
    seconds: float
    memory_bytes: int


def measure_throughput(
    engine: DiffusersEngine, images: int, *, steps: int, rounds: int
) -> Throughput:
    """Time a request `rounds` times after one to warm up: text-to-image, 1024x1024."""
    request = GenerateRequest(prompt=_PROMPT, steps=steps, width=SIDE, height=SIDE)
    engine.batcher.max_size = images
    cuda = torch.cuda.is_available()

    def time_request() -> float:
        started = time.perf_counter()
        # The engine returns images in the CPU's memory, so the GPU has finished by then.
        list(engine.generate(request, seeds=range(1, images + 1), init_image=None))
        return time.perf_counter() - started

    time_request()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(time_request() for _ in range(rounds))
    return Throughput(
        images=images,
        batch_size=engine.batcher.max_size,
        seconds=seconds,
        memory_bytes=torch.cuda.max_memory_allocated() if cuda else _peak_resident_bytes(),
    )


def _peak_resident_bytes() -> int:
    """Return the peak of the process since its start."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def format_table(
    measurements: Sequence[Throughput], *, flops: int, peak_tflops: float | None
) -> str:
    """Return a Markdown table; `flops` is for one image, `peak_tflops` None gives no share."""
    lines = [
        "| images | batch size | s | images/s | peak memory, GiB | TFLOP/s | share of peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for measured in measurements:
        rate = measured.images / measured.seconds
        tflops = rate * flops / 1e12
        cells = (
            str(measured.images),
            str(measured.batch_size),
            f"{measured.seconds:.2f}",
            f"{rate:.3f}",
            f"{measured.memory_bytes / 2**30:.1f}",
            f"{tflops:.4g}",
            f"{tflops / peak_tflops:.1%}" if peak_tflops else "unknown",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
