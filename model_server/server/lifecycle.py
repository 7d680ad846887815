"""The lifecycle of the server: listen, load the engine, report readiness, shut down."""

import asyncio
import functools
import logging
import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from model_server.engines.protocol import EngineLoadError
from model_server.engines.registry import ENGINES
from model_server.server.app import create_app
from model_server.server.metrics import Metrics, RequestCounter
from model_server.server.runner import EngineRunner
from model_server.settings import Settings

_LOG: Final = logging.getLogger("uvicorn.error")
_SHUTDOWN_TIMEOUT_S: Final = 3
"""For clients that read their response slowly; the engine itself stops at once."""


class Server(uvicorn.Server):
    """A uvicorn server that responds to GET /health while its engine loads."""

    _loading: asyncio.Task[None]

    def __init__(self, settings: Settings, *, on_ready: Callable[[str], None]) -> None:
        """Create the engine and the application.

        `on_ready` is called once with the server's URL, when it listens and its engine has loaded.
        Raises EngineLoadError when the engine's packages are not installed.
        """
        engine = ENGINES[settings.engine](settings)
        metrics = Metrics(engine.collectors)
        self._runner = EngineRunner(engine, metrics)
        self._on_ready = on_ready
        self.failed = False
        super().__init__(
            uvicorn.Config(
                RequestCounter(create_app(settings, self._runner, metrics), metrics),
                host=settings.host,
                port=settings.port,
                headers=[
                    ("X-Engine", engine.description),
                    ("X-Digital-Source-Type", engine.digital_source_type),
                ],
                server_header=False,
                access_log=False,
                log_level="warning",
                lifespan="off",
                timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and start to load the engine."""
        await super().startup(sockets=sockets)
        url = build_url(*self.servers[0].sockets[0].getsockname()[:2])
        self._loading = asyncio.create_task(self._runner.load())
        self._loading.add_done_callback(functools.partial(self._finish_loading, url))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the engine, then the server: uvicorn waits for the requests that still run."""
        self._loading.cancel()
        self._runner.close()
        await super().shutdown(sockets=sockets)

    def _finish_loading(self, url: str, loading: asyncio.Task[None]) -> None:
        if loading.cancelled():
            return
        if error := loading.exception():
            expected = isinstance(error, EngineLoadError)
            _LOG.error("the engine did not load: %s", error, exc_info=None if expected else error)
            self.failed = self.should_exit = True
        else:
            self._on_ready(url)


def build_url(host: str, port: int) -> str:
    """Return the URL of a server on `host` and `port`, with an IPv6 address in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
