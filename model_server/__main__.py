"""python -m model_server: run the server until SIGTERM or Ctrl-C."""

import os
import signal
import sys

from model_server.engines.protocol import EngineLoadError
from model_server.engines.registry import ENGINES
from model_server.server.lifecycle import Server
from model_server.settings import Settings


def main() -> None:
    """Run the server; exit with status 0 after a signal, and with 1 when the engine fails."""
    settings = Settings.from_command_line(sys.argv[1:], os.environ, engines=ENGINES)
    # uvicorn shuts down, then raises the signal again: this handler turns it into an exit status.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        server = Server(settings, on_ready=_print_url)
    except EngineLoadError as error:
        sys.exit(str(error))
    server.run()
    sys.exit(1 if server.failed else 0)


def _print_url(url: str) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
