"""python -m local: the service on this machine, until Ctrl-C."""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from local.console import Console
from local.environment import ROOT, write_env
from local.image import generate
from local.processes import ChildError, locked
from local.stack import Stack, running
from local.terminal_image import protocol, small_png
from local.upstream import Chosen, choose
from ops.stacks import StackError, read_env
from sd3.domain.signing_certificate import SigningCertificate

_CLIENT = "local"
_CHECK_SECONDS = 0.5
_TAIL_LINES: Final = 8
_TAIL_WIDTH: Final = 76
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PUBLISHED = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
)


def main(arguments: list[str], state: Path = ROOT / ".local") -> int:
    """Run until Ctrl-C or SIGTERM, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--upstream", default="", help="names, with commas between them")
    parser.add_argument("--upstream-url", default="", help="base URLs in that order")
    parser.add_argument(
        "--key-file", type=Path, help="a file with one key, or with a JSON object of keys by name"
    )
    parser.add_argument("--c2pa", type=Path, help="a file with the secret that signs images")
    options = parser.parse_args(arguments)
    for number in _ENDING:
        signal.signal(number, _end)
    state.mkdir(exist_ok=True)
    console = Console()
    try:
        upstream = choose(options.upstream, url=options.upstream_url, key_file=options.key_file)
        c2pa = _signing_secret(options.c2pa) if options.c2pa else ""
        with locked(state / "run.lock", wait=False):
            _run(state, upstream, c2pa, console)
    except BlockingIOError:
        console.line(_already_running(state / "env"))
    except (StackError, OSError, BotoCoreError, ClientError) as error:
        console.failed()
        console.line("\n".join(_explained(error)))
    except KeyboardInterrupt:
        console.clear()
        console.line("\nstopped")
        return 0
    return 1


def _already_running(env: Path) -> str:
    """Say that another `make run` holds the lock, and where its service is once it has started."""
    try:
        where = f" at {read_env(env)['SD3_API_URL']}"
    except FileNotFoundError:
        where = ""
    return f"The service is running here already{where}: use that one, or end it by Ctrl-C first."


def _explained(error: Exception) -> list[str]:
    """Say what failed, with the last lines of the log that tells why, and what to do."""
    lines = ["", f"The service does not run: {error}"]
    if isinstance(error, ChildError):
        lines += ["", *(f"    {line[:_TAIL_WIDTH]}" for line in _tail(error.log)), ""]
        lines += [error.hint] if error.hint else []
    return lines


def _tail(log: Path) -> list[str]:
    lines = (line.rstrip() for line in log.read_text(errors="replace").splitlines())
    return [line for line in lines if line][-_TAIL_LINES:]


def _signing_secret(path: Path) -> str:
    """Read and check a secret of C2paSecretArn. Raises StackError, and OSError."""
    text = path.read_bytes().decode(errors="replace")
    try:
        SigningCertificate.from_secret(text)
    except ValueError as error:
        msg = f"{path} cannot sign images: {error}"
        raise StackError(msg) from error
    return text


def _run(state: Path, upstream: Chosen, c2pa: str, console: Console) -> NoReturn:
    with running(
        state,
        edge_port=4566,
        model_port=8188,
        report=console.step,
        upstream=upstream,
        c2pa=c2pa,
    ) as stack:
        env = state / "env"
        try:
            token = stack.deployed.issue_token(_CLIENT)
            console.step("first image" + (", which is paid" if upstream.is_real else ""))
            image = generate(stack.api_url, token, prompt="a lighthouse at dusk")
            console.done()
            write_env(env, _published(stack, token))
            _welcome(console, stack.api_url, token, image, state / "first.jpg")
            while True:
                stack.check()
                time.sleep(_CHECK_SECONDS)
        finally:
            env.unlink(missing_ok=True)


def _welcome(console: Console, url: str, token: str, image: bytes, file: Path) -> None:
    """Show the first image, and say what can be done now."""
    file.write_bytes(image)
    show = protocol(console.environ) if console.is_terminal else None
    if show:
        console.line("\n" + show(small_png(image)))
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    console.line(_READY.format(url=url, token=token, image=shown))


def _published(stack: Stack, token: str) -> dict[str, str]:
    return {
        "SD3_API_URL": stack.api_url,
        "SD3_API_TOKEN": token,
        **{name: stack.aws[name] for name in _PUBLISHED},
        **({"SD3_UPSTREAM_URL": stack.upstream_url} if stack.upstream_url else {}),
        "SD3_CLIENT": _CLIENT,
    }


def _end(_number: int, _frame: Any) -> NoReturn:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
    raise KeyboardInterrupt


_READY: Final = """
  API          {url}
  playground   {url}/playground
  reference    {url}/docs
  token        {token}
  first image  {image}

The playground and the reference ask for the token. In another terminal:

  . .local/env
  curl "$SD3_API_URL/generate/sd3" -H "Authorization: Bearer $SD3_API_TOKEN" \\
    -H 'Content-Type: application/json' -d '{{"prompt": "a lighthouse at dusk"}}'

  make demo               one of everything, as a table
  make token CLIENT=name  a token for another client

Ctrl-C ends the service and all that it has stored."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
