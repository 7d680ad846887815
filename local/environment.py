"""Environment variables of the stack's processes, and the ports on which they listen."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The root of the checkout."""

REGION = "us-east-1"
LOOPBACK = "127.0.0.1"

_PASSED = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ"})
_NOT_BUILT_WITH = ("AWS_", "LAYER_", "MAKE", "MFLAGS", "PYTHON", "SAM_", "VIRTUAL_ENV")


def bare(environ: Mapping[str, str]) -> dict[str, str]:
    """Select the variables of a server: none of the user's AWS account, proxies or Python."""
    return {name: value for name, value in environ.items() if name in _PASSED}


def for_building(environ: Mapping[str, str]) -> dict[str, str]:
    """Select the variables of a build: all but those that change its result.

    Package registries may need the rest.
    """
    return {n: value for n, value in environ.items() if not n.startswith(_NOT_BUILT_WITH)}


def free_port(preferred: int) -> int:
    """Find a free port on the loopback interface: `preferred` if it is free; 0 prefers none."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    msg = f"no port is free on {LOOPBACK}"
    raise OSError(msg)


def from_root(path: Path) -> Path:
    """Shorten a path of the checkout for people; any other stays as it is."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Write KEY=VALUE lines, atomically, to a file that only the user may read."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(lines)
    draft.replace(path)
