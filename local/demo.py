"""python -m local.demo: send one of everything to the service of `make run`, show what comes."""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import requests
from botocore.exceptions import BotoCoreError, ClientError

from local.console import Console
from local.demo_steps import IMAGES, STEPS, Came, Demo, NotTriedError
from local.environment import ROOT, from_root
from ops.api_client import ApiClient
from ops.stacks import RUNNING_STACK, StackError, embedded, read_env

_ERRORS: Final = (
    StackError, BotoCoreError, ClientError, requests.RequestException, OSError, ValueError,
    LookupError,
)  # fmt: skip
_ROW: Final = "{:<20} {:<10} {:>7} {:>6}  {}"


def main(arguments: list[str]) -> int:
    """Run all steps and print a table; return the exit status, which is 0 if everything works."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="generate where it costs money")
    parser.add_argument("--env", type=Path, default=RUNNING_STACK, help="settings of `make run`")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local/demo", help="for images")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        env = read_env(options.env)
        options.folder.mkdir(parents=True, exist_ok=True)
        return _demonstrate(env, options.folder, console, is_allowed=options.yes)
    except FileNotFoundError:
        console.line("no service is running here: start `make run` in another terminal first")
    except _ERRORS as error:
        console.clear()
        console.line(f"not done: {error}\nIs `make run` still running?")
    except KeyboardInterrupt:
        console.clear()
        console.line("\nstopped")
    return 1


def _demonstrate(
    env: Mapping[str, str], folder: Path, console: Console, *, is_allowed: bool
) -> int:
    deployed = embedded(env)
    api = ApiClient(deployed, env["SD3_API_URL"], env["SD3_API_TOKEN"])
    demo = Demo(api, env["SD3_CLIENT"], folder, console.spin)
    try:
        before = api.usage()["today"]
        # The model server of `make run` costs nothing. Anything else may be a vendor.
        is_paid = deployed.parameters()["UpstreamUrl"] != env.get("SD3_UPSTREAM_URL")
        if is_paid and not is_allowed and not _agreed(demo.price().what, console):
            return 1
        if not _run(demo, console):
            return 1
        _show_usage(api, before, IMAGES, console)
        console.line(f"images: {from_root(folder)}/; the jobs: the playground, or GET /jobs")
        return 0
    finally:
        demo.clean_up()
        api.close()


def _agreed(price: str, console: Console) -> bool:
    """Ask whether the images may be paid. Nobody can be asked where there is no terminal."""
    console.line(f"The demo's {price}.")
    if console.is_terminal and sys.stdin.isatty():
        return input("Generate them? [y/N] ").strip().lower() in {"y", "yes"}
    console.line("Nothing was generated: `make demo YES=1` does it.")
    return False


def _run(demo: Demo, console: Console) -> bool:
    """Run each step and print its row; return whether all have worked."""
    errors: list[str] = []
    console.line("  " + _ROW.format("way in", "status", "time", "cost", "image"))
    for step in STEPS:
        console.spin(step.name)
        start = time.monotonic()
        try:
            came, mark = step.run(demo), console.good()
        except (*_ERRORS, NotTriedError) as error:
            came, mark = Came("-", 0, "failed: see below"), console.bad()
            errors.append(f"{step.name}: {error}")
        seconds, cost = f"{time.monotonic() - start:.2f} s", f"${came.cost:.2f}"
        console.clear()
        console.line(f"{mark} " + _ROW.format(step.name, came.status, seconds, cost, came.what))
    for text in errors:
        console.line(f"\n{text}")
    return not errors


def _show_usage(api: ApiClient, before: Any, images: int, console: Console) -> None:
    """Print the day's usage before and after, once all images are counted. Raises StackError."""

    def counted() -> Any:
        day = api.usage()["today"]
        is_counted = day["pictures"] >= before["pictures"] + images and not day["reserved_usd"]
        return day if is_counted else None

    console.spin("today's usage")
    after = api.wait(counted, what="entry of each image in the day's usage")
    console.clear()
    console.line(f"\ntoday: {_day(before)} before; {_day(after)} after")


def _day(usage: Any) -> str:
    s = "" if usage["pictures"] == 1 else "s"
    return f"${usage['cost_usd']:.2f} for {usage['pictures']} image{s}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
