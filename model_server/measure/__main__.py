"""python -m model_server.measure: generate images with random weights and print the throughput."""

import argparse
import datetime as dt
import platform
import sys
from collections.abc import Sequence

import diffusers
import torch

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import DTYPES, find_device
from model_server.measure.architecture import ARCHITECTURES, build_pipeline
from model_server.measure.flops import count_flops
from model_server.measure.gpus import find_peak_tflops
from model_server.measure.throughput import SIDE, format_table, measure_throughput


def main(arguments: Sequence[str]) -> None:
    """Measure what the flags ask for and print it as Markdown."""
    flags = _parser().parse_args(arguments)
    architecture = ARCHITECTURES[flags.architecture]
    device = find_device()
    processor = torch.cuda.get_device_name() if device == "cuda" else f"CPU {platform.machine()}"
    flops = count_flops(architecture, SIDE).total(flags.steps)
    _print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {processor}, "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}\n"
        f"python -m model_server.measure {' '.join(arguments)}\n"
        f"{flops / 1e12:.4g} TFLOP per image of {SIDE}x{SIDE}, {flags.steps} steps\n"
    )
    engine = DiffusersEngine(
        lambda: build_pipeline(architecture, device=device, dtype=DTYPES[flags.dtype]),
        compiled=flags.compile,
    )
    engine.load()
    measurements = [
        measure_throughput(engine, images, steps=flags.steps, rounds=flags.rounds)
        for images in flags.images
    ]
    # The peaks in gpus.py are those of bf16, and fp16 has the same; fp32 has others.
    known_peak = None if flags.dtype == "fp32" else find_peak_tflops(processor)
    _print(format_table(measurements, flops=flops, peak_tflops=flags.peak_tflops or known_peak))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model_server.measure", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile, as in the server")
    parser.add_argument(
        "--images", "--pictures", type=int, nargs="+", default=[1, 4, 16], help="per request"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="the table shows their median")
    parser.add_argument("--peak-tflops", type=float, help="of a GPU that gpus.py does not list")
    return parser


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
