"""A real HTTP/1.1 server on loopback that follows a script of good and bad responses."""

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable
from email.utils import formatdate
from io import BufferedIOBase
from types import TracebackType
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    """One request, whole; `connection` counts from 0."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


class Wire:
    """What a script writes to: the connection on which a request has just been read."""

    def __init__(self, sock: socket.socket, ended: threading.Event) -> None:
        self._sock = sock
        self._ended = ended

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def pause(self, seconds: float) -> bool:
        """Wait, at most until the server ends; return whether it still runs."""
        return not self._ended.wait(seconds)


Reply = Callable[[Wire], bool]
"""Writes a response and returns whether the connection stays open."""


def http_reply(
    status: int = 200, body: bytes = b"", *, keep: bool = True, **headers: str | None
) -> Reply:
    """Make a well-formed response; `headers` in snake_case replace the usual ones, None omits."""
    length: dict[str, str | None] = {"content_length": str(len(body))}
    data = head(status, **(length | headers)) + body

    def reply(wire: Wire) -> bool:
        wire.send(data)
        return keep

    return reply


def head(status: int, **headers: str | None) -> bytes:
    """Make a status line and headers, with the empty line that ends them."""
    usual: dict[str, str | None] = {
        "date": formatdate(0, usegmt=True),
        "content_type": "application/json",
    }
    lines = [
        f"{name.replace('_', '-')}: {value}"
        for name, value in (usual | headers).items()
        if value is not None
    ]
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode("latin-1")


def raw(data: bytes) -> Reply:
    """Whatever bytes these are, and then the end of the connection."""

    def reply(wire: Wire) -> bool:
        wire.send(data)
        return False

    return reply


def dripping(data: bytes, *, seconds: float = 0.05, at_once: int = 0) -> Reply:
    """Send the first `at_once` bytes, and then one byte every so many seconds."""

    def reply(wire: Wire) -> bool:
        wire.send(data[:at_once])
        for byte in data[at_once:]:
            if not wire.pause(seconds):
                break
            wire.send(bytes([byte]))
        return False

    return reply


def silent(wire: Wire) -> bool:
    """Send no response while the server runs."""
    wire.pause(60)
    return False


def chunked(pieces: Iterable[bytes], *, whole: bool = True) -> Reply:
    """Send a 200 of unknown length; without its end if not `whole`."""
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return raw(head(200, transfer_encoding="chunked") + sent + (b"0\r\n\r\n" if whole else b""))


class MisbehavingServer(socketserver.ThreadingTCPServer):
    """Gives each request the next reply of its script, and the last one again from then on."""

    daemon_threads = False  # so that the end of a test waits for them
    request_queue_size = 32

    def __init__(self, *script: Reply, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self._tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        """Released once for each connection that this side has closed."""
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    sock.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self._tls:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def opened(self, sock: socket.socket) -> int:
        with self._lock:
            self._open.add(sock)
            self.connections += 1
            return self.connections - 1

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().close_request(request)
        self.closed.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: clients that close the connection are expected."""

    def next_reply(self, received: Received) -> Reply:
        with self._lock:
            self.requests.append(received)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Handler(socketserver.StreamRequestHandler):
    server: MisbehavingServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        connection = self.server.opened(self.request)
        wire = Wire(self.request, self.server.ended)
        while received := _read_request(self.rfile, connection):
            if not self.server.next_reply(received)(wire):
                break


def _read_request(stream: BufferedIOBase, connection: int) -> Received | None:
    line = stream.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body, connection)
