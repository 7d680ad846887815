"""The server's settings: flags from the command line, and the token from the environment."""

import argparse
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

TOKEN_VARIABLE = "MODEL_SERVER_TOKEN"  # noqa: S105 - the name of the variable, not a token


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The token, and one field per flag, of the same name."""

    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    engine: str = "sketch"
    max_concurrent: int = 8
    requests_per_minute: int = 0
    max_body_bytes: int = 32 * 2**20
    """Fits the base64 of a 4096x4096 photograph; base64 is a third larger than the file."""
    delay_ms_per_step: float = 0.0
    weights: str = ""
    dtype: str = "bf16"
    offload: str = "none"
    compile: bool = False
    max_batch: int = 4
    """With guidance, 8 rows in the transformer: 35000 tokens at 1024x1024. Not measured yet."""
    safety_checker: str = ""

    @classmethod
    def from_command_line(
        cls, arguments: Sequence[str], environ: Mapping[str, str], *, engines: Collection[str]
    ) -> Self:
        """Read the flags and the environment; `engines` are the names that --engine accepts.

        Exits with status 2 and a message when a flag is wrong or the token is missing.
        """
        parser = _parser(cls, engines)
        flags = parser.parse_args(arguments)
        token = environ.get(TOKEN_VARIABLE, "")
        if not token:
            parser.error(f"set {TOKEN_VARIABLE} to the bearer token that clients must send")
        if flags.engine == "diffusers" and not flags.weights:
            parser.error("--engine diffusers needs --weights")
        return cls(token=token, **vars(flags))


def _parser(settings: type[Settings], engines: Collection[str]) -> argparse.ArgumentParser:
    default = {f.name: f.default for f in fields(settings)}
    parser = argparse.ArgumentParser(
        prog="python -m model_server", description="Run the SD3 model server."
    )
    flags: tuple[tuple[str, Callable[[str], object], str], ...] = (
        ("host", str, "address to listen on"),
        ("port", int, "port to listen on; 0 takes a free one, which the first line names"),
        ("max-concurrent", _at_least(1), "requests running or waiting; others get a 429"),
        ("requests-per-minute", _at_least(0), "requests accepted per minute; 0 is no limit"),
        ("max-body-bytes", _at_least(1), "largest request body; a larger one gets a 413"),
        ("delay-ms-per-step", _delay, "sketch: milliseconds to wait per image and step"),
        (
            "weights",
            str,
            "diffusers: folder of a Stable Diffusion 3 pipeline, or its id on the hub",
        ),
        ("max-batch", _at_least(1), "diffusers: images per batch; halved when out of memory"),
        ("safety-checker", str, "diffusers: folder of a safety checker that removes images"),
    )
    choices = (
        ("engine", sorted(engines), "what generates the images"),
        ("dtype", ["bf16", "fp16", "fp32"], "diffusers: number format of weights and arithmetic"),
        ("offload", ["none", "model", "sequential"], "diffusers: what is kept in the CPU's memory"),
    )
    for name, names, description in choices:
        parser.add_argument(
            f"--{name}", choices=names, default=default[name], help=f"{description} (%(default)s)"
        )
    parser.add_argument("--compile", action="store_true", help="diffusers: use torch.compile")
    for name, kind, description in flags:
        value = default[name.replace("-", "_")]
        parser.add_argument(
            f"--{name}", type=kind, default=value, help=f"{description} (default: {value})"
        )
    return parser


def _at_least(minimum: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        if (value := int(text)) < minimum:
            msg = f"should be at least {minimum}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return integer


def _delay(text: str) -> float:
    if not 0 <= (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("should be 0 or more")
    return value
