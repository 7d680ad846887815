"""An HTTP/1.1 server on 127.0.0.1 that is fast enough not to affect the measurements."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

SCRATCH = 1 << 18
"""Bytes that are read at once from a discarded body: they stay in the processor's cache."""


class Call(NamedTuple):
    """One request. `body` is empty where it was discarded; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """One response; `body` is sent without a copy."""

    status: str = "200 OK"
    headers: Iterable[tuple[str, str]] = ()
    body: bytes | memoryview = b""


Handler = Callable[[Call], Reply]


class Loopback(socketserver.ThreadingTCPServer):
    """A server with one thread for each connection, so that connections do not delay each other."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, handle: Handler, *, keep_bodies: bool, tls: ssl.SSLContext | None) -> None:
        """Listen on a free port. Without `keep_bodies` a PUT's body is discarded."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.handle = handle
        self.keep_bodies = keep_bodies
        self._tls = tls

    @property
    def url(self) -> str:
        """Return the address without a slash at the end."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its own thread does the handshake."""
        sock, address = super().get_request()
        if self._tls:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address


class _Connection(socketserver.BaseRequestHandler):
    server: Loopback
    request: socket.socket

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scratch = memoryview(bytearray(SCRATCH))
        self.early = b""

    def handle(self) -> None:
        try:
            while (call := self._read_call()) is not None:
                self._send(self.server.handle(call))
        except ConnectionError:
            return  # the client has closed the connection

    def _read_call(self) -> Call | None:
        head = self._read_head()
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if headers.get("expect") == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", "0"))
        keep = self.server.keep_bodies or method != "PUT"
        body = b"".join(bytes(part) for part in self._parts(length) if keep)
        return Call(method, target, headers, body)

    def _read_head(self) -> bytes | None:
        seen = self.early
        while b"\r\n\r\n" not in seen:
            size = self.request.recv_into(self.scratch)
            if not size:
                return None
            seen += self.scratch[:size]
        head, _, self.early = seen.partition(b"\r\n\r\n")
        return head

    def _parts(self, length: int) -> Iterator[bytes | memoryview]:
        """Yield a body part by part; each part is valid until the next one is read."""
        early, self.early = self.early[:length], self.early[length:]
        yield early
        left = length - len(early)
        while left:
            size = self.request.recv_into(self.scratch, min(left, SCRATCH))
            if not size:
                raise ConnectionResetError
            yield self.scratch[:size]
            left -= size

    def _send(self, reply: Reply) -> None:
        fields = [("Content-Length", str(len(reply.body))), *reply.headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        start = f"HTTP/1.1 {reply.status}\r\n{head}\r\n".encode("latin-1")
        if len(reply.body) < SCRATCH:
            self.request.sendall(start + reply.body)  # one packet: nothing waits for an ACK
        else:
            self.request.sendall(start)
            self.request.sendall(reply.body)


@contextmanager
def serving(
    handle: Handler, *, keep_bodies: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve in this process until the block ends, over TLS if given; yields the address."""
    with Loopback(handle, keep_bodies=keep_bodies, tls=tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()
