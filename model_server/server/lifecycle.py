"""The program's life: bind, load, say where it listens, and end on a signal."""

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
from model_server.server.metrics import CountedAnswers, Metrics
from model_server.server.runner import Studio
from model_server.settings import Settings

_LOG: Final = logging.getLogger("uvicorn.error")
_GRACE_S: Final = 3
"""For clients that are slow to take their answer; drawing itself ends at once."""


class Server(uvicorn.Server):
    """A uvicorn server that answers /health while its engine loads."""

    _loading: asyncio.Task[None]

    def __init__(self, settings: Settings, *, on_ready: Callable[[str], None]) -> None:
        """`on_ready` is called once, with the server's URL, when it listens and can draw.

        Raises EngineLoadError when the engine's packages are not there.
        """
        engine = ENGINES[settings.engine](settings)
        metrics = Metrics(engine.collectors)
        self._studio = Studio(engine, metrics)
        self._on_ready = on_ready
        self.failed = False
        super().__init__(
            uvicorn.Config(
                CountedAnswers(create_app(settings, self._studio, metrics), metrics),
                host=settings.host,
                port=settings.port,
                headers=[("X-Engine", self._studio.engine.notice)],
                server_header=False,
                access_log=False,
                log_level="warning",
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and start to load the engine."""
        await super().startup(sockets=sockets)
        url = url_of(*self.servers[0].sockets[0].getsockname()[:2])
        self._loading = asyncio.create_task(self._studio.load())
        self._loading.add_done_callback(functools.partial(self._loaded, url))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop drawing first: uvicorn waits for the requests that are under way."""
        self._loading.cancel()
        self._studio.close()
        await super().shutdown(sockets=sockets)

    def _loaded(self, url: str, loading: asyncio.Task[None]) -> None:
        if loading.cancelled():
            return
        if error := loading.exception():
            known = isinstance(error, EngineLoadError)
            _LOG.error("the engine did not load: %s", error, exc_info=None if known else error)
            self.failed = self.should_exit = True
        else:
            self._on_ready(url)


def url_of(host: str, port: int) -> str:
    """Return the URL of a server that listens there; an IPv6 address is put in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
