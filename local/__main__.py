"""python -m local: the service on this machine, until Ctrl-C."""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from local.environment import ROOT, write_env
from local.image import generate
from local.processes import locked
from local.stack import Stack, running
from local.upstream import Chosen, choose
from ops.stacks import StackError
from sd3.domain.signing_certificate import SigningCertificate

_CLIENT = "local"
_CHECK_SECONDS = 0.5
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
    try:
        upstream = choose(options.upstream, url=options.upstream_url, key_file=options.key_file)
        c2pa = _signing_secret(options.c2pa) if options.c2pa else ""
        with locked(state / "run.lock", wait=False):
            return _run(state, upstream, c2pa)
    except BlockingIOError:
        show("the service is running here already: end the other `make run` first")
    except (StackError, OSError) as error:
        show(f"{error}")
    except KeyboardInterrupt:
        show("stopped")
        return 0
    return 1


def show(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def _signing_secret(path: Path) -> str:
    """Read and check a secret of C2paSecretArn. Raises StackError, and OSError."""
    text = path.read_bytes().decode(errors="replace")
    try:
        SigningCertificate.from_secret(text)
    except ValueError as error:
        msg = f"{path} cannot sign images: {error}"
        raise StackError(msg) from error
    return text


def _run(state: Path, upstream: Chosen, c2pa: str) -> NoReturn:
    with running(
        state, edge_port=4566, model_port=8188, report=show, upstream=upstream, c2pa=c2pa
    ) as stack:
        env = state / "env"
        try:
            token = stack.deployed.issue_token(_CLIENT)
            show("generating a first image" + (", which is paid" if upstream.is_real else ""))
            image = state / "first.jpg"
            image.write_bytes(generate(stack.api_url, token, prompt="a lighthouse at dusk"))
            write_env(env, _published(stack, token))
            show(_READY.format(url=stack.api_url, token=token, image=image.relative_to(ROOT)))
            while True:
                stack.check()
                time.sleep(_CHECK_SECONDS)
        finally:
            env.unlink(missing_ok=True)


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


_READY = """
URL    {url}
page   {url}/docs
token  {token}
generated  {image}

curl {url}/generate/sd3 -H 'Authorization: Bearer {token}' \
-H 'Content-Type: application/json' -d '{{"prompt": "a lighthouse at dusk"}}'

Another token: make token CLIENT=name. Settings of the running service: .local/env. End: Ctrl-C."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
