"""python -m model_server.measure: draw with random weights and print how fast that was."""

import argparse
import datetime as dt
import platform
import sys
from collections.abc import Sequence

import diffusers
import torch

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import DTYPES, find_device
from model_server.measure.architecture import ARCHITECTURES, build
from model_server.measure.flops import count_work
from model_server.measure.gpus import find_peak_tflops
from model_server.measure.throughput import SIDE, time_batch, write_table


def main(arguments: Sequence[str]) -> None:
    """Measure what the flags ask for and print it as Markdown."""
    flags = _parser().parse_args(arguments)
    device = find_device()
    chip = torch.cuda.get_device_name() if device == "cuda" else f"CPU {platform.machine()}"
    flops = count_work(ARCHITECTURES[flags.architecture], SIDE).of_picture(flags.steps)
    _say(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {chip}, "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}\n"
        f"python -m model_server.measure {' '.join(arguments)}\n"
        f"{flops / 1e12:.4g} TFLOP per picture of {SIDE}x{SIDE}, {flags.steps} steps\n"
    )
    engine = DiffusersEngine(
        lambda: build(ARCHITECTURES[flags.architecture], device=device, dtype=DTYPES[flags.dtype]),
        compiled=flags.compile,
    )
    engine.load()
    speeds = [
        time_batch(engine, pictures, steps=flags.steps, rounds=flags.rounds)
        for pictures in flags.pictures
    ]
    # The stated peaks are bf16's, which fp16 shares; fp32 has another.
    stated = None if flags.dtype == "fp32" else find_peak_tflops(chip)
    _say(write_table(speeds, flops=flops, peak_tflops=flags.peak_tflops or stated))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model_server.measure", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile, as the server's")
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 4, 16], help="at once")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is told")
    parser.add_argument("--peak-tflops", type=float, help="of a chip that is not in chips.py")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
