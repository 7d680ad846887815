"""The SD3 server and the AWS that both sides call, each in a separate process."""

import base64
import json
import random
import ssl
import struct
import sys
import zlib
from functools import cache

from benchmarks.aws_server import aws
from benchmarks.loopback import Call, Handler, Reply, serving

SIDE = 1024
NOISY_ROWS = 512
"""Noise does not compress: half of the rows as noise make a PNG of 1.5 MB."""


@cache
def image() -> bytes:
    """Make the image of every response: always the same 1024x1024 PNG of 1.5 MB."""
    noise = random.Random(0)  # noqa: S311 - the same image in every run, no secret
    row = SIDE * 3
    rows = [b"\0" + noise.randbytes(row) for _ in range(NOISY_ROWS)]
    rows += [bytes(row + 1)] * (SIDE - NOISY_ROWS)
    size = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 1)
    chunks = (b"IHDR", size), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sd3() -> Handler:
    """Serve POST /generate/sd3 as OctoAI did, with prepared bodies."""

    @cache
    def body(count: int) -> bytes:
        one = {
            "image_b64": base64.b64encode(image()).decode(),
            "removed_for_safety": False,
            "safety_score": None,
        }
        images = [one | {"seed": 1 + index} for index in range(count)]
        return json.dumps({"images": images, "prediction_time_ms": 1.0}).encode()

    def handle(call: Call) -> Reply:
        count = json.loads(call.body).get("num_images", 1)
        return Reply(headers=[("Content-Type", "application/json")], body=body(count))

    return handle


def main(which: str, certificate: str = "", *latencies_ms: str) -> None:
    """Serve `which` of the two and print its URL; stop when standard input ends.

    With the path of a certificate it serves over TLS.
    """
    handle = sd3() if which == "sd3" else aws(*(int(ms) / 1000 for ms in latencies_ms))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls:
        tls.load_cert_chain(certificate)
    with serving(handle, tls=tls) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
