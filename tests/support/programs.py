"""A server that somebody has copied from this repository: a program in a folder of its own."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.environment import free_port
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
