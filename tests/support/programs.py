"""Programs that somebody has copied from this repository."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from local.environment import ROOT, free_port
from tests.support.polling import wait_for


@contextmanager
def serving(
    command: Sequence[str | Path], folder: Path, *, port: int = 0, **environment: str
) -> Iterator[tuple[str, Path]]:
    """Run a server until the block ends; yield its URL and the file of what it prints.

    `{port}` in the command and the variable PORT name the port, a free one if it is 0.
    """
    port, output = port or free_port(0), folder / "output"
    with output.open("w") as lines:
        process = subprocess.Popen(  # noqa: S603 - all of it is ours
            [str(part).format(port=port) for part in command],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PORT": str(port), **environment},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Node is the child of a program that starts it
        )

    def listens() -> bool:
        assert process.poll() is None, output.read_text()
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, what="server")
        yield f"http://127.0.0.1:{port}", output
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def load_example(name: str) -> ModuleType:
    """Import a program of examples/ anew, as a process does that has the environment of now."""
    location = spec_from_file_location(name, ROOT / f"examples/{name}.py")
    assert location
    assert location.loader
    program = module_from_spec(location)
    location.loader.exec_module(program)
    return program
